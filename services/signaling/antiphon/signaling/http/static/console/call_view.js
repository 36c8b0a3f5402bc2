// One call on one clock: figures, turns, curves, both transcripts, events, where it ran. From NATS or from a file.

import { lostOf, placeOf } from "./calls_view.js";
import { happened, transcripts } from "./conversation_view.js";
import { pictures } from "./curves.js";
import { el } from "./dom.js";
import { duration, moment, ms } from "./format.js";
import { plain } from "./text.js";
import { curves } from "./timeline.js";
import { waterfalls } from "./waterfall.js";

/** `call`: its summary, or null; `ended`: { reason, cause, ended } or null; `model`: of `timeline.read`. */
export function callView({ id, call, ended, model, agents = [], buttons = [], above = null }) {
  const until = ended?.ended ?? (call && call.state !== "ended" ? Date.now() / 1000 : model.until);
  const facts = [
    ["State", ended ? `ended: ${plain(ended.reason, 40)}${ended.cause ? ` (${plain(ended.cause, 200)})` : ""}` : plain(call?.state ?? "not known", 20)],
    ["Began", moment(model.began)],
    ["Lasted", duration(until - model.began)],
    ["Agent", call ? plain(call.agent, 64) + (call.instance ? ` (${plain(call.instance, 64)})` : "") : agents.slice(0, 8).map((name) => plain(name, 64)).join(", ") || "–"],
    ["Where", call ? placeOf(call) : "–"],
    ["Path", plain(call?.path || "–", 20)],
    ["Moved", call ? `${call.moves ?? 0} times` : "–"],
    ["Turns", String(call?.turns ?? model.turns.length)],
    ["Round trip", ms(call?.round_trip_ms ?? NaN)],
    ["Lost", call ? lostOf(call) : "–"],
    ["Client", call?.client ? [call.client.client, call.client.protocol, call.client.candidate].filter(Boolean).map((text) => plain(text, 64)).join(", ") : "–"],
    ["Trace", plain(call?.trace_id || "not traced", 64)],
  ];
  return [
    el("div", { class: "title" }, el("h2", {}, plain(id, 64)), ...buttons),
    above,
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    section("Turns", waterfalls(model)),
    section("Loss, jitter and round trip", model.points.length ? el("div", { class: "curves" }, pictures(curves(model), until - model.began)) : el("p", { class: "nothing" }, "No statistics yet: they come every 5 s.")),
    section("What was said", transcripts(model)),
    section("Where it ran", happened("Places", model.places, model.began, "It has not moved.")),
    section("Events", happened("List of events", model.events, model.began, "No event is kept.")),
  ];
}

function section(title, ...content) {
  return el("section", { "aria-label": title }, el("h3", {}, title), ...content);
}
