// Makes elements, and changes them without rebuilding what stays: focus and selections survive an update.
// Text only ever becomes a text node, because keys and paths come from clients.

const SVG = "http://www.w3.org/2000/svg";

export const by = (id) => document.getElementById(id);

/** An element with a class and children, which are texts or nodes. */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export function shape(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Sets the text, unless it is there already. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Text with `code` between backticks, as the server writes its reasons. */
export function marked(value) {
  return value.split("`").map((part, index) => (index % 2 ? make("code", "", part) : part));
}

/** Makes the children of an element those of the items, and keeps the ones whose name stays the same. */
export function sync(parent, items, name, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.name, child]));
  let place = parent.firstElementChild;
  items.forEach((item, index) => {
    const called = String(name(item, index));
    let child = known.get(called);
    known.delete(called);
    if (!child) {
      child = create(item);
      child.dataset.name = called;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item, index);
  });
  for (const gone of known.values()) gone.remove();
}

/** A bar that is filled to a ratio. The same is beside it as text. */
export function bar() {
  const fill = make("span", "fill");
  const outer = make("span", "bar", fill);
  outer.setAttribute("aria-hidden", "true");
  return outer;
}

export function fill(outer, ratio) {
  const width = `${(Math.min(1, Math.max(0, ratio || 0)) * 100).toFixed(1)}%`;
  const inner = outer.firstElementChild;
  if (inner.style.width !== width) inner.style.width = width;
}

/** Copies a text. Without TLS a page has no clipboard but on localhost, and the old way is left. */
export async function copy(value, element) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
