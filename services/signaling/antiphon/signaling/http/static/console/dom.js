// Elements in one line. Text goes in as text nodes: nothing in the console is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** `el("td", { class: "n" }, "3", child)`; `on…` are listeners, `data` a record for `dataset`; null children are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** A table that scrolls sideways where it has to. `columns`: { title, cell(row), class }; `nothing`: the text without rows. */
export function table(caption, columns, rows, nothing) {
  if (!rows.length) return el("p", { class: "nothing" }, nothing);
  return el("div", { class: "wide", role: "region", "aria-label": `${caption}: table`, tabindex: 0 },
    el("table", {},
      el("caption", { class: "for-screen-readers" }, caption),
      el("thead", {}, el("tr", {}, columns.map(({ title, class: kind }) => el("th", { scope: "col", class: kind }, title)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, columns.map(({ cell, class: kind }) => el("td", { class: kind }, cell(row))))))));
}

/** Put new content in place of the old, and keep the focus on what has the same `data-focus`. */
export function renew(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const open = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.focus));
  const scrolled = [...place.querySelectorAll(".wide, .scrolled")].map((each) => [each.scrollLeft, each.scrollTop]);
  place.replaceChildren(...children.filter((child) => child != null));
  for (const each of place.querySelectorAll("details")) if (open.has(each.dataset.focus)) each.open = true;
  [...place.querySelectorAll(".wide, .scrolled")].forEach((each, n) => scrolled[n] && each.scrollTo(...scrolled[n]));
  if (focused) [...place.querySelectorAll("[data-focus]")].find((each) => each.dataset.focus === focused)?.focus({ preventScroll: true });
}
