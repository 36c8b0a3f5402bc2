// What was said, both sides on one clock, and what happened to the call.

import { el } from "./dom.js";
import { offset } from "./format.js";
import { plain, words as shown } from "./text.js";

const MOST = 1000; // lines of each list

export const WORDS_OFF = "No words are kept of this call. They are only where the retention setting ANTIPHON_TIMELINE_WORDS allows it.";

export function transcripts({ words, began }) {
  if (!words.length) return el("p", { class: "nothing" }, WORDS_OFF);
  return scrolled("Transcripts", el("ol", { class: "said" }, words.slice(-MOST).map((entry) => el("li", { class: entry.side === "agent" ? "agent" : "caller" },
    el("span", { class: "when" }, `${offset(entry.at - began)} ${entry.side === "agent" ? "agent, as played" : "caller"}`),
    el("p", {}, shown(entry.text), entry.complete === false ? el("em", {}, " – interrupted here") : null)))));
}

export function happened(title, events, began, nothing) {
  if (!events.length) return el("p", { class: "nothing" }, nothing);
  return scrolled(title, el("ol", { class: "events" }, events.slice(-MOST).map((event) => el("li", {},
    el("span", { class: "when" }, offset(event.at - began)), " ",
    el("strong", {}, plain(event.name, 64)), " ",
    el("span", { class: "detail" }, details(event.detail))))));
}

const scrolled = (title, list) => el("div", { class: "scrolled", role: "region", tabindex: 0, "aria-label": title, data: { focus: title } }, list);

function details(detail) {
  if (!detail || typeof detail !== "object") return "";
  return Object.entries(detail).filter(([, value]) => value != null && value !== "").slice(0, 20)
    .map(([name, value]) => `${plain(name, 40)}: ${plain(typeof value === "object" ? JSON.stringify(value) : value, 160)}`).join(" · ");
}
