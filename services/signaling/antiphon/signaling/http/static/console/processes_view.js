// All processes in the services register, by service: version, load, state; one can be drained.

import { ask } from "./api.js";
import { confirmed } from "./dialogs.js";
import { el, table } from "./dom.js";
import { ms } from "./format.js";
import { plain } from "./text.js";

const TITLES = { "antiphon-signaling": "Signaling", "antiphon-relay": "Relays", "antiphon-transceiver": "Transceivers", "antiphon-agent": "Agents", "antiphon-worker": "Model workers" };

export function processes(list, { changed, report }) {
  const services = [...new Set([...Object.keys(TITLES), ...list.map((each) => each.service)])];
  const shown = services.map((service) => [service, list.filter((each) => each.service === service)]).filter(([service, each]) => each.length || TITLES[service]);
  return shown.map(([service, each]) => el("section", { "aria-label": plain(TITLES[service] ?? service, 64) },
    el("h2", {}, `${plain(TITLES[service] ?? service, 64)} (${each.length})`),
    table(plain(TITLES[service] ?? service, 64), columns(changed, report), each, "None answers.")));
}

const columns = (changed, report) => [
  { title: "Process", cell: (each) => plain(each.name || each.id, 80) },
  { title: "Version", cell: (each) => plain(each.version, 32) },
  { title: "Host", cell: (each) => [each.host, each.pid].filter(Boolean).map((text) => plain(text, 64)).join(" · ") || "–" },
  { title: "Region", cell: (each) => plain(each.region || "–", 64) },
  { title: "State", cell: (each) => el("span", { class: each.trouble ? "state suspect" : "state" }, each.trouble ? `trouble: ${plain(each.trouble, 160)}` : plain(each.state || "answers", 20)) },
  { title: "Calls", class: "n", cell: (each) => (each.taken === null ? "–" : each.capacity === null ? String(each.taken) : `${each.taken} of ${each.capacity}`) },
  { title: "Late", class: "n", cell: (each) => ms(each.lateness_ms ?? NaN) },
  { title: "Action", cell: (each) => el("button", { class: "danger small", type: "button", data: { focus: `drain-${each.id}` }, "aria-label": `Drain ${plain(each.service, 40)} ${plain(each.name || each.id, 80)}`, onclick: () => drain(each, changed, report) }, "Drain") },
];

async function drain(each, changed, report) {
  const text = `${plain(each.service, 40)} ${plain(each.name || each.id, 80)} hands its calls over where it can, takes no more, and ends.`;
  if (!(await confirmed("Drain this process?", text, "Drain"))) return;
  try {
    await ask(`/v1/operator/processes/${encodeURIComponent(each.service)}/${encodeURIComponent(each.id)}/drain`, { method: "POST" });
    report(`${each.name || each.id} drains.`);
  } catch (error) {
    report(error.message, true);
  }
  changed();
}
