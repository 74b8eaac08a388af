// Making elements, without a framework.

type Child = Node | string | null | false;
type Attributes = Record<string, string | number | boolean | null | ((event: never) => void)>;

/** An element with attributes (functions become listeners) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as unknown as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== false));
  return element;
}

/** Sets a text only when it differs: the browser lays nothing out anew. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const ICONS: Record<string, string> = {
  search: "M11 4a7 7 0 1 0 4.2 12.6l4.1 4.1 1.4-1.4-4.1-4.1A7 7 0 0 0 11 4Zm0 2a5 5 0 1 1 0 10 5 5 0 0 1 0-10Z",
  close: "m6.4 5 5.6 5.6L17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4Z",
  follow: "M12 2v3.1A7 7 0 0 1 18.9 12H22v0h-3.1A7 7 0 0 1 12 18.9V22v-3.1A7 7 0 0 1 5.1 12H2h3.1A7 7 0 0 1 12 5.1Zm0 5a5 5 0 1 0 0 10 5 5 0 0 0 0-10Zm0 3a2 2 0 1 1 0 4 2 2 0 0 1 0-4Z",
  alert: "M12 3 1.8 20.5h20.4Zm0 4 6.7 11.5H5.3Zm-1 4v4h2v-4Zm0 5v1.8h2V16Z",
  expand: "M4 9V4h5v2H6v3Zm11-5h5v5h-2V6h-3ZM6 15v3h3v2H4v-5Zm12 0h2v5h-5v-2h3Z",
};

/** One of the icons, as decoration. */
export function icon(name: keyof typeof ICONS & string): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}
