// The console: which view is shown, its renewal every two seconds, and what is said of trouble.
//
// One request is under way for a view at a time; a page in the background asks nothing.

import { ApiError, ask, pages } from "./api.js";
import { callView } from "./call_view.js";
import { hangUp, liveCalls } from "./calls_view.js";
import { signIn } from "./dialogs.js";
import { el, renew } from "./dom.js";
import { endedCalls, MOST } from "./ended_view.js";
import { fileView } from "./file_view.js";
import { processes } from "./processes_view.js";
import { save } from "./save.js";
import { plain } from "./text.js";
import { read } from "./timeline.js";

const EVERY = 2000;
const MAX_ENTRIES = 20000;
const $ = (id) => document.getElementById(id);
const main = $("main");
let view = null; // { refresh(signal) or null, every, close }
let current = new AbortController();
let next = 0;
let failing = false;

function report(text, wrong = false) {
  $(wrong ? "problem" : "notice").textContent = plain(text, 500);
}

/** The view of the address's fragment. */
function viewOf(hash) {
  const [name, ...rest] = hash.slice(1).split("/");
  if (name === "call" && rest[0]) {
    try {
      return oneCall(decodeURIComponent(rest[0]));
    } catch {
      return live();
    }
  }
  return { ended, processes: allProcesses, file: recordings }[name]?.() ?? live();
}

function live() {
  const place = el("div", {});
  return {
    title: "Live calls", place: [el("h2", {}, "Live calls"), place],
    async refresh(signal) {
      const { data, total, incomplete } = await ask("/v1/operator/calls?limit=500", { signal });
      renew(place, ...liveCalls(data, { total, incomplete, ended: soon, report }));
    },
  };
}

function ended() {
  const { form, list, update } = endedCalls();
  let last = 0;
  return {
    title: "Ended calls", place: [el("h2", {}, "Ended calls"), form, list], every: 5000,
    async refresh(signal) {
      const found = await pages("/v1/operator/ended", last, MOST, signal);
      const first = last === 0;
      last = found.last;
      if (first || found.entries.length) update(found.entries);
    },
  };
}

function allProcesses() {
  const place = el("div", {});
  return {
    title: "Processes", place: [place],
    async refresh(signal) {
      const { data } = await ask("/v1/operator/processes", { signal });
      renew(place, ...processes(data, { changed: soon, report }));
    },
  };
}

function oneCall(id) {
  const place = el("div", {});
  const path = `/v1/operator/calls/${encodeURIComponent(id)}`;
  let [entries, last, end, fetched] = [[], 0, null, false];
  return {
    title: `Call ${plain(id, 64)}`, place: [place],
    async refresh(signal) {
      const [call, page] = await Promise.all([
        end ? end.call : ask(path, { signal }).catch((error) => { if (error.status === 404 || error.code === "owner_silent") return null; throw error; }),
        pages(`${path}/timeline`, last, MAX_ENTRIES, signal),
      ]);
      if (fetched && end && !page.entries.length) return;
      entries = [...entries, ...page.entries].slice(-MAX_ENTRIES);
      last = page.last;
      fetched = true;
      if (!call) end = (await ask(`${path}/ended`, { signal })).data.at(-1) ?? null;
      if (!call && !end && !entries.length) throw new ApiError(`there is no call ${id}, and nothing is kept of it`, 404, "no_call");
      const summary = call ?? end?.call ?? null;
      const buttons = [
        el("button", { class: "quiet small", type: "button", data: { focus: "save" }, onclick: () => save(id, summary, end, entries) }, "Save time line"),
        end ? null : el("button", { class: "danger small", type: "button", data: { focus: "hang-up" }, onclick: () => hangUp(summary ?? { session_id: id, agent: "–" }, soon, report) }, "Hang up"),
      ];
      renew(place, ...callView({ id, call: summary, ended: end, model: read(entries, summary), buttons }));
    },
  };
}

function recordings() {
  const files = fileView((text) => report(text, true));
  return { title: "Open a recording", place: [el("h2", {}, "Open a recording"), files.element], open: files.open, close: files.close };
}

function show() {
  current.abort();
  view?.close?.();
  view = viewOf(location.hash);
  document.title = `${view.title} – Antiphon console`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === (location.hash || "#calls")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  report("", true);
  main.replaceChildren(...view.place);
  soon();
}

function soon() {
  clearTimeout(next);
  current.abort();
  refresh();
}

async function refresh() {
  const mine = view;
  if (!mine.refresh) return;
  const control = (current = new AbortController());
  const timeout = setTimeout(() => control.abort(), 15000);
  let wait = mine.every ?? EVERY;
  try {
    if (document.visibilityState === "visible") await mine.refresh(control.signal);
    if (failing) report("", true);
    failing = false;
  } catch (error) {
    if (mine !== view || (error.name === "AbortError" && control !== current)) return;
    if (error.status === 401 || error.code === "missing_scope" || error.code === "server_key_needed") {
      clearTimeout(timeout);
      const because = error.code === "missing_api_key" ? "" : plain(error.message, 300);
      if (await signIn(because)) { signedIn(); soon(); } else location.hash = "#file";
      return;
    }
    failing = true;
    report(error.name === "AbortError" ? "the server does not answer within 15 s" : error.message, true);
    wait = error.status === 404 ? 10000 : 5000;
  } finally {
    clearTimeout(timeout);
  }
  if (mine === view && control === current) next = setTimeout(refresh, wait);
}

function signedIn() {
  ask("/v1/operator/session").then(({ key }) => { $("sign-out").hidden = key === null; }, () => {});
}

$("sign-out").onclick = async () => {
  await ask("/v1/operator/session", { method: "DELETE" }).catch((error) => report(error.message, true));
  $("sign-out").hidden = true;
  soon();
};
addEventListener("hashchange", () => { show(); main.focus({ preventScroll: true }); });
addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") soon(); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  if (!view.open) { history.replaceState(null, "", "#file"); show(); }
  view.open(file);
});
signedIn();
show();
