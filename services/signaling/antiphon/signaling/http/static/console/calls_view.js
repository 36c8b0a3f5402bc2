// The live calls: one line each, renewed every two seconds; a call can be ended.

import { ask } from "./api.js";
import { confirmed } from "./dialogs.js";
import { el, table } from "./dom.js";
import { duration, ms, percent } from "./format.js";
import { plain } from "./text.js";
import { measured } from "./turn_parts.js";

export const callLink = (id) => el("a", { href: `#call/${encodeURIComponent(id)}`, data: { focus: `call-${id}` } }, plain(id, 40));

/** Of the packets both ways, those lost. */
export const lostOf = (call) => percent(call.packets_lost, call.packets_lost + call.packets_received);

/** Where a call runs: region, relay and owner. */
export const placeOf = (call) => [call.region, call.relay && `relay ${call.relay}`, call.kind === "websocket" ? "WebSocket" : `transceiver ${call.cluster}.${call.slot}`]
  .filter(Boolean).map((text) => plain(text, 48)).join(" · ");

/** { filter(text), content(calls, refusals) }. */
export function liveCalls(calls, { incomplete, total, ended, report }) {
  const now = Date.now() / 1000;
  const columns = [
    { title: "Call", cell: (call) => callLink(call.session_id) },
    { title: "State", cell: (call) => el("span", { class: `state ${plain(call.state, 12)}` }, plain(call.state, 20)) },
    { title: "For", class: "n", cell: (call) => duration(now - call.began) },
    { title: "Agent", cell: (call) => plain(call.agent, 64) },
    { title: "Where", cell: placeOf },
    { title: "Round trip", class: "n", cell: (call) => ms(call.round_trip_ms ?? NaN) },
    { title: "Lost", class: "n", cell: lostOf },
    { title: "Late", class: "n", cell: (call) => ms(call.lateness_ms ?? NaN) },
    { title: "Last turn", class: "n", cell: (call) => { const { list, total: sum } = measured(call.last_turn?.parts); return list.length ? ms(sum) : "–"; } },
    { title: "Action", cell: (call) => el("button", { class: "danger small", type: "button", data: { focus: `end-${call.session_id}` }, "aria-label": `Hang up ${call.session_id}`, onclick: () => hangUp(call, ended, report) }, "Hang up") },
  ];
  return [
    el("p", { class: "hint" }, `${calls.length}${total > calls.length ? ` of ${total}` : ""} live calls${incomplete.length ? `; no answer from ${plain(incomplete.join(", "), 200)}` : ""}`),
    total > calls.length ? el("p", { class: "hint", role: "status" }, `The page shows the first ${calls.length} in the order of their ids. "antiphon top" shows all of them, filters and sorts.`) : null,
    table("Live calls", columns, calls, "No call runs now."),
  ];
}

export async function hangUp(call, ended, report) {
  const who = `${plain(call.session_id, 40)}, with agent ${plain(call.agent, 64)}`;
  if (!(await confirmed("Hang up this call?", `${who}. The caller is cut off at once.`, "Hang up"))) return;
  try {
    await ask(`/v1/operator/calls/${encodeURIComponent(call.session_id)}/hang_up`, { method: "POST" });
    report(`${call.session_id} was ended.`);
  } catch (error) {
    if (error.status === 404) report(`${call.session_id} had ended already.`);
    else report(error.message, true);
  }
  ended();
}
