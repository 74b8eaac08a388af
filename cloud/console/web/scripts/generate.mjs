// Writes src/gen/ from the protos' descriptors, which cargo compiles: no protoc, no buf.
//   node scripts/generate.mjs           write
//   node scripts/generate.mjs --check   fail when what is committed differs
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = dirname(dirname(fileURLToPath(import.meta.url)));

function run(program, args, options) {
  const done = spawnSync(program, args, { maxBuffer: 1 << 26, stdio: ["pipe", "pipe", "inherit"], ...options });
  if (done.error) throw done.error;
  if (done.status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${done.status}`);
  return done.stdout;
}

const descriptors = run("cargo", ["run", "--quiet", "--package", "remuda-api", "--example", "descriptors"], { cwd: web });
const set = fromBinary(FileDescriptorSetSchema, descriptors);
const request = create(CodeGeneratorRequestSchema, {
  fileToGenerate: set.file.map((file) => file.name).filter((name) => name.startsWith("remuda/") || name.startsWith("google/api/")),
  parameter: "target=ts",
  protoFile: set.file,
});
const plugin = join(web, "node_modules/.bin/protoc-gen-es");
const answer = fromBinary(CodeGeneratorResponseSchema, run(plugin, [], { input: toBinary(CodeGeneratorRequestSchema, request) }));
if (answer.error) throw new Error(answer.error);

let stale = false;
for (const file of answer.file) {
  const path = join(web, "src/gen", file.name);
  if (process.argv.includes("--check")) {
    let old = "";
    try {
      old = readFileSync(path, "utf8");
    } catch {}
    if (old !== file.content) {
      console.error(`src/gen/${file.name} is stale: run \`npm run generate\` and commit it`);
      stale = true;
    }
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, file.content);
  }
}
process.exit(stale ? 1 : 0);
