// All processes in the services register, by service: version, load, state; one can be drained.

import { ask } from "./api.js";
import { confirmed } from "./dialogs.js";
import { el, table } from "./dom.js";
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
  { title: "Process", cell: (each) => plain(nameOf(each), 80) },
  { title: "Version", cell: (each) => plain(each.version ?? "–", 32) },
  { title: "Host", cell: (each) => [each.host ?? each.metadata?.host, each.pid ?? each.metadata?.pid].filter(Boolean).map((text) => plain(text, 64)).join(" · ") || "–" },
  { title: "State", cell: (each) => plain(each.state ?? (each.trouble || each.metadata?.trouble ? `trouble: ${each.trouble ?? each.metadata.trouble}` : "ready"), 160) },
  { title: "Load", class: "n", cell: loadOf },
  { title: "", cell: (each) => el("button", { class: "danger small", type: "button", data: { focus: `drain-${each.id}` }, "aria-label": `Drain ${plain(nameOf(each), 80)}`, onclick: () => drain(each, changed, report) }, "Drain") },
];

const nameOf = (each) => each.name ?? each.metadata?.agent ?? each.metadata?.name ?? each.metadata?.kind ?? each.id;

function loadOf(each) {
  const [used, room] = [each.load ?? each.sessions ?? each.calls, each.capacity];
  if (Number.isFinite(used)) return Number.isFinite(room) && room > 0 ? `${used} of ${room}` : String(used);
  return "–";
}

async function drain(each, changed, report) {
  const text = `${plain(each.service, 40)} ${plain(nameOf(each), 80)} hands its calls over where it can, takes no more, and ends.`;
  if (!(await confirmed("Drain this process?", text, "Drain"))) return;
  try {
    await ask(`/v1/operator/processes/${encodeURIComponent(each.service)}/${encodeURIComponent(each.id)}/drain`, { method: "POST" });
    report(`${nameOf(each)} drains.`);
  } catch (error) {
    report(error.message, true);
  }
  changed();
}
