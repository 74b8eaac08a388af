// Opens a console in a headless browser and uses it as an operator would.
//
//   node scripts/smoke.mjs --url 'http://127.0.0.1:PORT/#token=TOKEN' [--vehicles N] [--online N] [--screenshots DIR]
//                          [--chromium /usr/bin/chromium] [--timeout SECONDS] [--no-signals] [--no-roads]
//                          [--outage]
//
// With --outage it says "smoke: waiting for an outage" on standard error when all else held, and then wants the server
// gone, told of on the page, and back at the same address with the same token.
// Exit codes: 0 held, 1 failed, 2 usage, 77 skipped (no browser). Prints one JSON object on standard output.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: given } = parseArgs({
  options: {
    url: { type: "string" },
    vehicles: { type: "string", default: "1" },
    online: { type: "string", default: "1" },
    screenshots: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    timeout: { type: "string", default: "90" },
    "no-signals": { type: "boolean", default: false },
    "no-roads": { type: "boolean", default: false },
    outage: { type: "boolean", default: false },
    light: { type: "boolean", default: false },
    size: { type: "string", default: "1360x840" },
  },
});
if (!given.url) {
  console.error("usage: node scripts/smoke.mjs --url URL_WITH_TOKEN [--vehicles N] [--online N] [--screenshots DIR]");
  process.exit(2);
}
if (!existsSync(given.chromium)) {
  console.error(`skipped: there is no browser at ${given.chromium} (Debian: apt-get install chromium)`);
  process.exit(77);
}
const timeout = Number(given.timeout) * 1000;
const [width, height] = given.size.split("x").map(Number);

const browser = await chromium.launch({
  executablePath: given.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"],
});
const problems = [];
let page;

function check(holds, sentence) {
  if (!holds) throw new Error(sentence);
}

async function until(what, condition, argument) {
  try {
    await page.waitForFunction(condition, argument, { timeout, polling: 200 });
  } catch (error) {
    throw new Error(`waited ${given.timeout} s in vain until ${what} (${String(error).split("\n")[0]})`);
  }
}

async function shot(name) {
  if (!given.screenshots) return;
  mkdirSync(given.screenshots, { recursive: true });
  await page.screenshot({ path: join(given.screenshots, `${name}.png`) });
}

/** How far the picture at a vehicle's place is from the land beside the roads, 0 to 441. */
async function contrastAt(at) {
  const clip = { x: Math.round(at.x) - 8, y: Math.round(at.y) - 8, width: 16, height: 16 };
  const png = (await page.screenshot({ clip })).toString("base64");
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, image.width, image.height);
    let most = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      // Points are colourful, land and roads are grey.
      const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
      most = Math.max(most, Math.max(r, g, b) - Math.min(r, g, b));
    }
    return most;
  }, png);
}

async function run() {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: given.light ? "light" : "dark",
  });
  page = await context.newPage();
  const origin = new URL(given.url).origin;
  page.on("pageerror", (error) => problems.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    // SwiftShader tells of its own slowness.
    if (message.type() === "error" && !/GPU stall|swiftshader/i.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !/^(data|blob):/.test(url)) problems.push(`external request: ${url}`);
  });

  await page.goto(given.url, { waitUntil: "domcontentloaded", timeout });
  await until("the fleet is shown", ({ vehicles, online }) => {
    const handle = window.remuda;
    return handle && handle.state().kind === "live" && handle.fleet.vehicles.length >= vehicles && handle.fleet.online >= online;
  }, { vehicles: Number(given.vehicles), online: Number(given.online) });
  check(!page.url().includes("token"), `the token is still in the address: ${page.url().replace(/token=.*/, "token=…")}`);
  // They come from a worker, which a bundle loses easily.
  if (!given["no-roads"]) await until("roads are drawn", () => window.remuda.roads() > 0);
  await until("the map has drawn some frames", () => window.remuda.frames() > 3);
  await page.waitForFunction(() => [...document.querySelectorAll(".figure strong")].some((e) => Number(e.textContent.replace(/\D/g, "")) > 0), null, { timeout });
  await shot("1-fleet");

  // A vehicle that drives is picked on the map.
  const id = await (await page.waitForFunction(() => {
    const { fleet } = window.remuda;
    return (fleet.vehicles.find((v) => v.state === "driving") ?? fleet.vehicles.find((v) => v.located && v.state !== "away"))?.id;
  }, null, { timeout, polling: 300 })).jsonValue();
  await page.fill(".search input", id);
  await page.waitForSelector(`.row[data-vehicle="${id}"]:not([hidden])`, { timeout });
  await page.keyboard.press("Enter");
  await page.waitForSelector(".panel:not([hidden])", { timeout });
  await page.keyboard.press("Escape");
  await page.locator(".list").focus();
  await page.keyboard.press("Escape");
  await page.waitForSelector(".panel", { state: "hidden", timeout });
  await until("the vehicle is in view", (vehicle) => window.remuda.screenOf(vehicle), id);
  // The camera glides there; the place counts once it stands.
  let picked = "";
  for (let tries = 0; tries < 20 && picked === ""; tries++) {
    const at = await page.evaluate((vehicle) => {
      const place = window.remuda.screenOf(vehicle);
      return place && document.elementFromPoint(place.x, place.y)?.tagName === "CANVAS" ? place : null;
    }, id);
    if (at) {
      const contrast = await contrastAt(at);
      if (contrast > 50) {
        await page.mouse.click(at.x, at.y);
        picked = await page.locator(".panel:not([hidden]) h2").textContent({ timeout: 3000 }).catch(() => "");
      }
    }
    if (picked === "") await page.waitForTimeout(500);
  }
  check(picked !== "", `no vehicle could be picked on the map where ${id} is drawn`);

  let signals = 0;
  if (!given["no-signals"]) {
    await until("the twin shows signals with ages", () => {
      const ages = [...document.querySelectorAll(".signal .age")];
      return ages.length > 0 && ages.every((e) => /\d|no time/.test(e.textContent));
    });
    signals = await page.locator(".signal").count();
    const ages = () => page.evaluate(() => [...document.querySelectorAll(".signal .age")].map((e) => e.textContent).join("|"));
    const before = await ages();
    await until("the ages tick", (old) => [...document.querySelectorAll(".signal .age")].map((e) => e.textContent).join("|") !== old, before);
  }
  await shot("2-vehicle");

  await page.locator(".panel .button", { hasText: "Follow" }).click();
  const moved = await page.evaluate(() => window.remuda.frames());
  await until("the map goes on drawing", (before) => window.remuda.frames() > before + 2, moved);
  await shot("3-follow");
  const figures = await page.evaluate(() => {
    const { fleet } = window.remuda;
    return { vehicles: fleet.vehicles.length, total: fleet.total, online: fleet.online, updates: fleet.updates, states: { ...fleet.counts } };
  });
  check(problems.length === 0, problems.join("\n"));
  if (given.outage) {
    console.error("smoke: waiting for an outage");
    await page.waitForSelector(".banner:not([hidden])", { timeout });
    await shot("4-outage");
    await until("the stream is back", (before) => window.remuda.state().kind === "live" && window.remuda.fleet.updates > before, figures.updates);
    await page.waitForSelector(".banner", { state: "hidden", timeout });
    const back = await page.evaluate(() => window.remuda.fleet.vehicles.length);
    check(back === figures.vehicles, `there were ${figures.vehicles} vehicles before the outage and ${back} after it`);
  }
  return { picked, signals, ...figures };
}

let code = 0;
try {
  console.log(JSON.stringify(await run()));
} catch (error) {
  console.error(`smoke test failed: ${error.message}`);
  for (const problem of problems) console.error(`  ${problem}`);
  if (page) await shot("failed").catch(() => {});
  code = 1;
}
await browser.close();
process.exit(code);
