// The turns of a call: where the time between the caller's last sample and the first one of the answer went.

import { el } from "./dom.js";
import { ms, offset } from "./format.js";
import { plain } from "./text.js";
import { measured, OWNERS } from "./turn_parts.js";

const LATEST = 100; // turns that are drawn

/** Each turn as a line that opens: its bar, and part by part who owns it. */
export function waterfalls({ turns, began }) {
  if (!turns.length) return el("p", { class: "nothing" }, "No turn has been reported.");
  const drawn = turns.slice(-LATEST).map((turn) => ({ turn, ...measured(turn.parts) }));
  const longest = Math.max(1, ...drawn.map(({ total }) => total));
  return el("div", {},
    el("ul", { class: "legend", "aria-label": "Who owns a part" }, Object.keys(OWNERS).map((owner) => el("li", {}, el("span", { class: `swatch ${owner}`, "aria-hidden": "true" }), owner))),
    turns.length > LATEST ? el("p", { class: "hint" }, `The last ${LATEST} of ${turns.length} turns.`) : null,
    drawn.map((each) => one(each, longest, began)));
}

function one({ turn, list, total }, longest, began) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, list.map((part) => {
    const piece = el("span", { class: `piece ${part.owner}`, title: `${part.title}: ${ms(part.ms)}` }, part.ms / longest > 0.09 ? part.name : "");
    piece.style.width = `${(100 * part.ms) / longest}%`;
    return piece;
  }));
  const tools = Array.isArray(turn.tools) && turn.tools.length ? `tools: ${turn.tools.slice(0, 32).map((name) => plain(name, 64)).join(", ")}` : "";
  return el("details", { class: "turn", data: { focus: `turn-${turn.number}` } },
    el("summary", { data: { focus: `turn-summary-${turn.number}` } },
      el("span", { class: "turn-title" }, `Turn ${turn.number} at ${offset(turn.began - began)}`),
      el("span", { class: "turn-total" }, list.length ? ms(total) : "not measured"),
      el("span", { class: `end ${turn.end ?? "speaking"}` }, turn.end ?? "speaking"),
      bar),
    tools ? el("p", { class: "hint" }, tools) : null,
    el("table", { class: "parts" },
      el("caption", { class: "for-screen-readers" }, `Parts of turn ${turn.number}`),
      el("thead", {}, el("tr", {}, ["Part", "Owner", "Time", ""].map((title, n) => el(n < 3 ? "th" : "td", n < 3 ? { scope: "col" } : {}, title)))),
      el("tbody", {}, list.map((part) => {
        const place = el("span", { class: `place ${part.owner}`, "aria-hidden": "true" });
        place.style.marginLeft = `${(100 * part.from) / Math.max(1, total)}%`;
        place.style.width = `${Math.max(0.4, (100 * part.ms) / Math.max(1, total))}%`;
        return el("tr", {}, el("th", { scope: "row" }, part.title), el("td", {}, part.owner), el("td", { class: "n" }, ms(part.ms)), el("td", { class: "track" }, place));
      }))));
}
