// The page: what is seen and pressed. The call itself is in call.js, the list in conversation.js.

import { AntiphonCall, PreparedCall } from "./antiphon.js";
import { Call, ask } from "./call.js";
import { Conversation } from "./conversation.js";
import { AnswerClock, Levels } from "./levels.js";
import { Recorder } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const KEY = "antiphon.key";
const LOOK_EVERY = 20; // ms, at both levels: the resolution of the answer time
const SOUNDING_FOR = 300; // ms after its last sound in which the agent still counts as speaking
const WITHOUT_MICROPHONE = ["refused", "missing", "held", "microphone", "insecure"];

const NO_AGENT = "No agent is there yet. It may still be starting; this page keeps looking.";

const STATES = {
  idle: "Ready. Press the button and speak.",
  microphone: "Asking for the microphone. Please allow it.",
  connecting: "Connecting …",
  listening: "Listening. Go ahead.",
  speaking: "The agent is speaking. You can interrupt.",
  reconnecting: "The connection is interrupted. Trying to get it back …",
  ended: "The call has ended.",
};

const recorder = new Recorder();
let call = null;
let ready = null; // PreparedCall, while there is no call
let conversation = new Conversation();
let levels = null;
let clock = null;
let answers = []; // ms, of this call
let events = []; // the newest server events, for tests
let looking = null;
let soundedAt = -Infinity;
let afterKey = null; // what to do again once a key was given

// ---- the call -------------------------------------------------------------------------------------

function start(withMicrophone = true) {
  problem("");
  conversation = new Conversation();
  answers = [];
  events = [];
  $("conversation").replaceChildren();
  $("nothing-yet").hidden = false;
  $("latency").textContent = "";
  levels = new Levels();
  clock = new AnswerClock();
  const mine = (call = new Call());
  call.addEventListener("state", () => mine === call && stateChanged());
  call.addEventListener("numbers", () => mine === call && showNumbers());
  call.addEventListener("path", () => mine === call && showPath());
  call.addEventListener("message", ({ detail }) => mine === call && received(detail));
  call.addEventListener("stream", ({ detail }) => mine === call && streamCame(detail));
  call.addEventListener("microphone", () => mine === call && showMicrophone());
  stateChanged();
  showNumbers();
  showPath();
  $("microphone").textContent = microphoneProblem = "";
  call.start({ agent: $("agent").value, key: sessionStorage.getItem(KEY), silence: withMicrophone ? null : levels.silence(), ready, ...wishes() });
  ready = null;
}

/** Have the server's answer at hand when the button is pressed: the pointer has just come to it. */
function prepare() {
  if (ready || (call && call.state !== "ended") || !$("agent").value) return;
  const { steering, region, race } = wishes();
  ready = new PreparedCall(async () => {
    const connection = new AntiphonCall({ key: sessionStorage.getItem(KEY), steering });
    await connection.prepare({ agent: $("agent").value, region, race });
    return connection;
  });
  ready.start();
}

/** What was prepared is for another agent, or another key. */
function forget() {
  ready?.close();
  ready = null;
}

/** What the page's address says of the way that calls take: ?region=, ?race=0 or 1, ?steering=off. */
function wishes() {
  const query = new URLSearchParams(location.search);
  const race = query.get("race");
  return { region: query.get("region"), race: race === null ? null : race === "1", steering: query.get("steering") === "off" ? false : {} };
}

function streamCame({ side, stream }) {
  levels.listen(side, stream);
  recorder.listen(side, stream);
  if (side !== "agent") return;
  // The element plays it; kept out of the document, because there is nothing to see or to operate.
  call.sink = new Audio();
  call.sink.srcObject = stream;
  call.sink.play().catch(() => problem("The browser does not play sound on this page: allow it, then start again."));
  looking = setInterval(look, LOOK_EVERY);
}

function look() {
  const now = performance.now();
  const [microphone, agent] = [levels.of("microphone"), levels.of("agent")];
  const took = clock.feed(now, microphone, agent);
  if (took !== null) {
    answers.push(took);
    showNumbers();
  }
  if (agent > 0.003) soundedAt = now;
  call.agentSounding(now - soundedAt < SOUNDING_FOR);
  showLevel("mic-level", microphone);
  showLevel("agent-level", agent);
}

function received(event) {
  events.push(event);
  if (events.length > 500) events.shift();
  if (event.type === "antiphon.latency") showLatency(event);
  // nothing was left to cancel: what was to be stopped had just ended by itself
  if (event.type === "error" && event.error?.code !== "response_cancel_not_active") problem(`The agent reports: ${event.error?.message ?? "an error"}`);
  for (const item of conversation.apply(event)) showItem(item);
}

function type(text) {
  if (call.state === "speaking") {
    call.send({ type: "response.cancel" });
    call.send({ type: "output_audio_buffer.clear" });
  }
  const id = `typed_${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  const item = { id, type: "message", role: "user", content: [{ type: "input_text", text }] };
  if (!call.send({ type: "conversation.item.create", item })) return false;
  call.send({ type: "response.create" });
  clock.typed(performance.now());
  showItem(conversation.typed(id, text));
  return true;
}

function stateChanged() {
  const state = call?.state ?? "idle";
  const active = !["idle", "ended"].includes(state);
  document.body.dataset.state = state;
  document.body.classList.toggle("in-call", active);
  const never = state === "ended" && call.problem && call.numbers.setup_ms === null;
  $("state").textContent = never ? "No call was made." : state === "ended" ? (call.ending ?? STATES.ended) : STATES[state];
  $("call").textContent = active ? "End call" : state === "ended" ? "Call again" : "Start call";
  $("agent").disabled = active;
  allowTyping();
  if (state !== "ended") return;
  clearInterval(looking);
  levels?.close();
  call.sink?.pause();
  showLevel("mic-level", 0);
  showLevel("agent-level", 0);
  if (call.problem?.kind === "key") return askForKey(call.problem.message, () => start());
  if (call.problem) problem(call.problem.message, WITHOUT_MICROPHONE.includes(call.problem.kind));
}

// ---- what is shown --------------------------------------------------------------------------------

let microphoneProblem = ""; // as it is shown

/** Which microphone is used, and what is wrong with it, for as long as it is. */
function showMicrophone() {
  const { state, problem: text, label } = call.microphone;
  if (text || $("problem").textContent === microphoneProblem) problem(text);
  microphoneProblem = text;
  $("microphone").textContent = state === "working" && label ? `Microphone: ${label}.` : "";
}

function problem(text, offerTyping = false) {
  $("problem").textContent = text;
  $("without-microphone").hidden = !offerTyping;
}

function allowTyping() {
  const open = Boolean(call?.canType) && call.state !== "ended";
  $("text").disabled = $("send").disabled = !open;
}

function showItem(item) {
  const list = $("conversation");
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  let entry = [...list.children].find((child) => child.item === item);
  if (!entry) {
    entry = document.createElement("li");
    entry.item = item;
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = item.role === "user" ? "You" : agentName();
    entry.append(who, document.createElement("p"));
    list.append(entry);
    $("nothing-yet").hidden = true;
    while (list.children.length > conversation.items.length) list.firstElementChild.remove();
  }
  entry.className = `${item.role}${item.final || item.text ? "" : " pending"}${item.interrupted ? " interrupted" : ""}`;
  entry.lastElementChild.textContent = item.text || "…";
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
  // A screen reader gets whole answers only, once: neither every word of them nor what the user said.
  if (item.role === "assistant" && item.final && !entry.announced) {
    entry.announced = true;
    $("announcer").textContent = `${agentName()}: ${item.text}`;
  }
}

function showNumbers() {
  const { setup_ms, round_trip_ms, packets_received, packets_lost, remote_packets_lost } = call.numbers;
  $("setup").textContent = milliseconds(setup_ms);
  $("round-trip").textContent = milliseconds(round_trip_ms);
  const last = answers.at(-1) ?? null;
  $("answer").textContent = milliseconds(last) + (answers.length > 1 ? ` (median ${Math.round(median(answers))})` : "");
  const lost = Math.max(0, packets_lost);
  const share = packets_received + lost ? ((100 * lost) / (packets_received + lost)).toFixed(1) : "0.0";
  $("lost").textContent = packets_received ? `${share} %` + (remote_packets_lost > 0 ? `, ${remote_packets_lost} at the server` : "") : "–";
  allowTyping();
}

const PATH_TRIED = {
  better: " Another way in was better.",
  not_better: " Another way in was no better.",
  not_reached: " Another way in was not to be reached.",
};

/** By which relay the call goes, and what is tried while that way is bad. */
function showPath() {
  const { relay, region, call_region, trying, last } = call.path;
  const named = (place) => (place.region ? `${place.region} (${place.relay})` : place.relay);
  const way = relay ? `The call enters at ${named({ relay, region })}${call_region ? ` and is in ${call_region}` : ""}.` : "";
  const bad = trying && { loss: `${(100 * trying.measured.loss).toFixed(0)} % of the packets get lost`, round_trip_ms: `the round trip takes ${Math.round(trying.measured.round_trip_ms)} ms`, jitter_ms: `packets come up to ${Math.round(trying.measured.jitter_ms)} ms late` }[trying.why];
  $("path").textContent = way + (trying ? ` Trying ${named(trying)}, because ${bad}.` : (PATH_TRIED[last] ?? ""));
}

/** What the agent's side says about the last answer, in the order in which it happens. */
function showLatency(event) {
  const parts = [["end_of_turn_ms", "end of turn"], ["stt_wait_ms", "understanding"], ["agent_ms", "answer"], ["tts_first_ms", "voice"]]
    .filter(([name]) => Number.isFinite(event[name]))
    .map(([name, words]) => `${words} ${Math.round(event[name])}`);
  const all = event.end_of_speech_to_first_audio_ms;
  if (Number.isFinite(all)) $("latency").textContent = `Of the last answer's time the server took ${Math.round(all)} ms: ${parts.join(", ")}.`;
}

function showLevel(id, rms) {
  // -60 dBFS is nothing, -10 dBFS is full.
  const level = Math.max(0, Math.min(1, (20 * Math.log10(rms + 1e-6) + 60) / 50));
  $(id).style.setProperty("--level", level.toFixed(2));
}

function milliseconds(value) {
  return value === null ? "–" : `${Math.round(value)} ms`;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function agentName() {
  const name = $("agent").value || "agent";
  return name[0].toUpperCase() + name.slice(1);
}

// ---- agents and key -------------------------------------------------------------------------------

let picked = null; // by hand: counts for more than the address

async function loadAgents() {
  try {
    const response = await ask("/v1/agents", sessionStorage.getItem(KEY));
    const { agents, default: standard } = await response.json();
    const wanted = picked ?? new URLSearchParams(location.search).get("agent") ?? standard;
    const there = agents.includes(wanted);
    const chosen = there ? wanted : standard;
    $("agent").replaceChildren(...(agents.length ? agents : [standard]).map((name) => new Option(name, name, false, name === chosen)));
    if (!agents.length) problem(NO_AGENT);
    else if ($("problem").textContent === NO_AGENT) problem("");
    if (!there && (!call || call.state === "ended")) setTimeout(loadAgents, 3000); // it may still be starting
  } catch (error) {
    if (error.kind === "key") askForKey(error.message, loadAgents);
    else problem(error.message);
  }
}

function askForKey(why, then) {
  afterKey = then;
  $("key-problem").textContent = why;
  $("key").value = "";
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

// ---- wiring ---------------------------------------------------------------------------------------

$("call").addEventListener("click", () => (call && call.state !== "ended" ? call.hangUp() : start()));
for (const sign of ["pointerenter", "focus", "touchstart"]) $("call").addEventListener(sign, prepare, { passive: true });
$("agent").addEventListener("change", () => {
  picked = $("agent").value;
  forget();
});
$("without-microphone").addEventListener("click", () => start(false));
$("type").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text && type(text)) $("text").value = "";
});
$("key-form").addEventListener("submit", () => {
  sessionStorage.setItem(KEY, $("key").value.trim());
  forget();
  problem("");
  const then = afterKey;
  afterKey = null;
  then?.();
});
$("key-cancel").addEventListener("click", () => $("key-dialog").close());
addEventListener("pagehide", () => {
  forget();
  call?.hangUp();
});
loadAgents();

// Read-only hooks for tests and for the browser's console.
window.antiphon = Object.freeze({
  get state() { return call?.state ?? "idle"; },
  get problem() { return call?.problem ? { kind: call.problem.kind, message: call.problem.message } : null; },
  get transcripts() { return conversation.items.map((item) => ({ ...item })); },
  get events() { return structuredClone(events); },
  get numbers() { return { ...call?.numbers, answers_ms: [...answers] }; },
  get path() { return structuredClone(call?.path ?? null); },
  get microphone() { return { ...call?.microphone }; },
  get moves() { return structuredClone(call?.moves ?? []); },
  stats: () => call?.stats() ?? Promise.resolve([]),
  recorder: Object.freeze({ start: () => recorder.start(), stop: () => recorder.stop() }),
});
