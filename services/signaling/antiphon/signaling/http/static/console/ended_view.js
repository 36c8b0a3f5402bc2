// The calls that have ended, newest first: searched and filtered here, of the last 1,000.

import { callLink, lostOf, placeOf } from "./calls_view.js";
import { el, table } from "./dom.js";
import { duration, moment, ms } from "./format.js";
import { plain } from "./text.js";
import { measured } from "./turn_parts.js";

export const MOST = 1000;
const SHOWN = 200;

/** Those whose texts hold all words of `search`, with this reason. */
export function found(entries, search, reason) {
  const wanted = search.toLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => {
    if (reason && entry.reason !== reason) return false;
    const call = entry.call ?? {};
    const text = [call.session_id, call.agent, call.region, call.relay, call.instance, call.trace_id, entry.reason, entry.cause].join("\n").toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** The form stays; `list` is renewed. { form, list, update(entries) }. */
export function endedCalls() {
  const search = el("input", { id: "search", type: "search", maxlength: 200, autocomplete: "off" });
  const reason = el("select", { id: "reason" }, el("option", { value: "" }, "any"));
  const list = el("div", {});
  let all = [];
  const draw = () => {
    const rows = found(all, search.value, reason.value);
    list.replaceChildren(
      el("p", { class: "hint", role: "status" }, `${rows.length} of the last ${all.length} calls${rows.length > SHOWN ? `; the newest ${SHOWN} are shown` : ""}`),
      table("Ended calls", COLUMNS, rows.slice(0, SHOWN), "No such call."));
  };
  search.oninput = reason.onchange = draw;
  const form = el("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    el("label", { for: "search" }, "Search"), search, el("label", { for: "reason" }, "Reason"), reason);
  return {
    form,
    list,
    update(entries) {
      const newer = new Map([...all, ...entries].map((entry) => [entry.sequence, entry]));
      all = [...newer.values()].sort((a, b) => b.sequence - a.sequence).slice(0, MOST);
      const chosen = reason.value;
      const there = [...new Set(all.map((entry) => plain(entry.reason, 40)))].sort();
      reason.replaceChildren(el("option", { value: "" }, "any"), ...there.map((each) => el("option", { value: each }, each)));
      reason.value = there.includes(chosen) ? chosen : "";
      draw();
    },
  };
}

const COLUMNS = [
  { title: "Call", cell: ({ call }) => callLink(call.session_id) },
  { title: "Ended", cell: ({ ended }) => moment(ended) },
  { title: "Lasted", class: "n", cell: ({ call, ended }) => duration(ended - call.began) },
  { title: "Reason", cell: ({ reason, cause }) => el("span", {}, plain(reason, 40), cause ? el("span", { class: "detail" }, ` ${plain(cause, 120)}`) : null) },
  { title: "Agent", cell: ({ call }) => plain(call.agent, 64) },
  { title: "Where", cell: ({ call }) => placeOf(call) },
  { title: "Turns", class: "n", cell: ({ call }) => String(call.turns ?? 0) },
  { title: "Last turn", class: "n", cell: ({ call }) => { const { list, total } = measured(call.last_turn?.parts); return list.length ? ms(total) : "–"; } },
  { title: "Round trip", class: "n", cell: ({ call }) => ms(call.round_trip_ms ?? NaN) },
  { title: "Lost", class: "n", cell: ({ call }) => lostOf(call) },
];
