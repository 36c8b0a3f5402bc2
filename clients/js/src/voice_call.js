// A whole call in one object: microphone, sound, transcript, states. What pages and frameworks use; an AntiphonCall below it has
// the connection.

import { AntiphonCall } from "./antiphon_call.js";
import { Conversation } from "./conversation.js";
import { Microphone } from "./microphone.js";
import { PathWatch } from "./path_watch.js";
import { PreparedCall, microphoneIsGranted } from "./prepared_call.js";
import { AntiphonError } from "./request.js";

const CONNECT_WITHIN = 15000; // ms from the answer to a connected call
const RECONNECT_WITHIN = 45000; // ms: the server keeps a call without its client for 30 s
const ASK_EVERY = 1500; // ms, while the call is not connected yet: the agent may have ended it already
const OPTIONS = ["url", "token", "agent", "microphone", "audio", "region", "race", "steering", "report", "signal"];

/** Place a call and wait until it is connected; AntiphonError (or its MicrophoneError) where that does not come about. */
export async function connect(options = {}) {
  const call = new VoiceCall(options);
  await call.start();
  return call;
}

/**
 * A VoiceCall whose answer is fetched before its `start`, when the pointer comes to `button` (a finger, the keyboard), or now without
 * one, and again in time. The microphone is asked for at `start`, and nothing shows before.
 */
export function prepare(options = {}, { button = null } = {}) {
  const call = new VoiceCall(options);
  call.prepare(button);
  return call;
}

/**
 * Events: "state" (detail: the new state), "transcript" (detail: an item of `transcript`), "event" (detail: a server event),
 * "problem" (detail: an AntiphonError; where the call ended by it, "state" follows), "move" (detail: {relay, why, quiet_ms}).
 * States: "idle", "connecting", "connected", "reconnecting", "ended".
 */
export class VoiceCall extends EventTarget {
  state = "idle";
  problem = null; // AntiphonError that ended the call
  ending = null; // the server's status of a call that it ended
  stream = null; // MediaStream with the agent's voice
  #options;
  #call = null; // AntiphonCall
  #ready = null; // PreparedCall
  #granted = null; // promise: the browser gives the microphone without a question
  #conversation = new Conversation();
  #microphone = null; // Microphone, where this call asks for one
  #silence = null; // AudioContext of a call without one
  #muted = false;
  #audio = null; // HTMLAudioElement that plays the agent's voice
  #timers = new Map(); // name: timer
  #asking = false; // why the call is over
  #connected = null; // {resolve, reject} of start()

  /**
   * `url`: of the server, "" for the page's own. `token`: an ek_ secret, or a function that resolves to one; null where the
   * server has no keys. `microphone`: true, a MediaStream of yours, or false to listen and type only. `audio`: true plays the
   * agent's voice, an audio element plays it there, false leaves it to you (`stream`). `signal`: an AbortSignal that ends the call.
   * `agent`, `region`, `race`, `steering` and `report`: as AntiphonCall takes them. AntiphonError of kind "invalid" for what can't be.
   */
  constructor(options = {}) {
    super();
    const unknown = Object.keys(options).filter((name) => !OPTIONS.includes(name));
    if (unknown.length) throw invalid(`there is no option ${unknown.join(", ")}; known are ${OPTIONS.join(", ")}`);
    this.#options = { url: "", token: null, agent: null, microphone: true, audio: true, region: null, race: null, steering: {}, report: true, signal: null, ...options };
    const { url, token, steering } = this.#options;
    if (typeof url !== "string" || (url && !/^https?:\/\//.test(url))) throw invalid(`url can't be ${JSON.stringify(url)}: give the server's origin, as in https://voice.example.org`);
    if (token !== null && !["string", "function"].includes(typeof token)) throw invalid("token has to be a text, or a function that resolves to one");
    try {
      if (steering) new PathWatch(steering);
    } catch (error) {
      throw invalid(error.message);
    }
  }

  /** The server's name for the call, null before it has one. */
  get id() {
    return this.#call?.id ?? null;
  }

  /** What both sides have said so far: [{id, role, text, final, interrupted}], the newest 500. */
  get transcript() {
    return this.#conversation.items;
  }

  /**
   * Have the server's answer at hand when `start` is called: from now on, or from when the pointer comes to this element. `token` is
   * asked for each time; of a secret there is one prepared call, and it counts as a call once. `start` places an ordinary call
   * where nothing is prepared, or where that is not answered within half a second.
   */
  prepare(element = null) {
    if (this.state !== "idle") throw invalid("this call has begun already: make another one");
    this.#ready ??= new PreparedCall(async () => {
      const { agent, region, race } = this.#options;
      this.#granted = microphoneIsGranted(); // asked now, because the answer takes some ms
      const call = await this.#make();
      await call.prepare({ agent, region, race });
      return call;
    });
    if (element) this.#ready.startAt(element);
    else this.#ready.start();
  }

  /** `prepare` has the server's answer: `start` needs no request. */
  get prepared() {
    return this.#ready?.ready ?? false;
  }

  /** Place the call; resolves when it is connected. Once only. */
  async start() {
    if (this.state !== "idle") throw invalid("this call has begun already: make another one");
    const { signal } = this.#options;
    if (signal?.aborted) this.#end(aborted(signal));
    signal?.addEventListener("abort", () => this.#end(aborted(signal)), { once: true });
    const connected = new Promise((resolve, reject) => (this.#connected = { resolve, reject }));
    connected.catch(() => {}); // also where the place below has failed first
    try {
      if (this.state !== "ended") await this.#place();
    } catch (error) {
      this.#end(error instanceof AntiphonError ? error : new AntiphonError(`the call failed: ${error.message}`, { kind: "refused", cause: error }));
    }
    if (this.problem) throw this.problem;
    return connected;
  }

  /** Send a client event; false while the data channel is not open. */
  send(event) {
    return this.#call?.send(event) ?? false;
  }

  /** Say something in writing; the agent answers it. False while the data channel is not open. */
  say(text) {
    const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
    return this.send({ type: "conversation.item.create", item }) && this.send({ type: "response.create" });
  }

  get muted() {
    return this.#muted;
  }

  /** Send silence in place of the caller's voice, or the voice again. */
  mute(muted = true) {
    this.#muted = muted;
    for (const track of this.#input?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** End the call; safe at any time. */
  hangUp() {
    this.#end(null);
  }

  /**
   * {round_trip_ms, packets_received, packets_lost, remote_packets_lost, jitter_ms, relay, protocol}, null for what is not known; and
   * `report`, all that the browser tells (RTCStatsReport).
   */
  async stats() {
    const report = (await this.#call?.peer?.getStats()) ?? new Map();
    const found = { round_trip_ms: null, packets_received: null, packets_lost: null, remote_packets_lost: null, jitter_ms: null, relay: null, protocol: null, report };
    for (const entry of report.values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        found.packets_received = entry.packetsReceived ?? null;
        found.packets_lost = entry.packetsLost ?? null;
        found.jitter_ms = entry.jitter === undefined ? null : entry.jitter * 1000;
      } else if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
        found.remote_packets_lost = entry.packetsLost ?? null;
      } else if (entry.type === "candidate-pair" && (entry.selected ?? entry.nominated)) {
        const used = [...report.values()].find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
        if (used && used.selectedCandidatePairId !== entry.id) continue;
        const remote = report.get(entry.remoteCandidateId);
        if (entry.currentRoundTripTime !== undefined) found.round_trip_ms = entry.currentRoundTripTime * 1000;
        if (remote) [found.relay, found.protocol] = [`${remote.address}:${remote.port}`, remote.protocol ?? null];
      }
    }
    return found;
  }

  get #input() {
    const { microphone } = this.#options;
    return this.#microphone?.stream ?? (typeof microphone === "object" ? microphone : null);
  }

  async #place() {
    const { microphone, agent, region, race } = this.#options;
    this.#become("connecting");
    const opened = this.#openMicrophone();
    opened.catch(() => {}); // it is awaited below
    const prepared = (this.#call = (await this.#ready?.take()) ?? null);
    // A prepared call connects while the microphone is being opened, unless the browser asks the user first.
    const waits = !prepared || (microphone === true && !(await this.#granted));
    const [call] = await Promise.all([prepared ?? this.#make(), waits ? opened : null]);
    this.#call = call;
    if (this.state === "ended") return this.#release();
    const on = (type, action) => call.addEventListener(type, ({ detail }) => this.state !== "ended" && action(detail));
    on("state", (state) => this.#connectionChanged(state));
    on("track", (track) => this.#play(track));
    on("message", (event) => this.#received(event));
    on("close", () => this.#endWithReason(new AntiphonError("the server ended the call", { kind: "ended" })));
    on("moved", (move) => this.#say("move", move));
    on("ended", (status) => this.#end(problemOf(status, lost()), status));
    await call.connect({ stream: opened, agent, region, race });
    if (this.state !== "connecting") return;
    this.#timers.set("ask", setInterval(() => this.#endIfEnded(), ASK_EVERY));
    this.#later("connect", CONNECT_WITHIN, () => this.#endWithReason(notConnected()));
  }

  async #make() {
    const { url, token, steering, report } = this.#options;
    const key = typeof token === "function" ? await token() : token;
    return new AntiphonCall({ server: url.replace(/\/+$/, ""), key, steering, report });
  }

  async #openMicrophone() {
    const { microphone } = this.#options;
    if (microphone === false) {
      this.#silence = new AudioContext();
      return this.#silence.createMediaStreamDestination().stream;
    }
    if (microphone !== true) return microphone;
    const mine = (this.#microphone = new Microphone());
    mine.addEventListener("track", () => {
      if (this.#muted) this.mute(true);
      this.#call?.replaceMicrophone(mine.stream).catch(() => {}); // the call may just have ended
    });
    mine.addEventListener("state", () => mine.problem && this.#say("problem", new AntiphonError(mine.problem, { kind: "microphone" })));
    await mine.open();
    if (this.#muted) this.mute(true);
    return mine.stream;
  }

  #play(track) {
    const { audio } = this.#options;
    this.stream = new MediaStream([track]);
    if (audio === false) return;
    this.#audio = audio === true ? new Audio() : audio;
    this.#audio.srcObject = this.stream;
    const refused = (error) => this.state !== "ended" && this.#say("problem", new AntiphonError("the browser does not play sound on this page: let the user press a button first", { kind: "sound", cause: error }));
    this.#audio.play()?.catch(refused);
  }

  #connectionChanged(state) {
    if (state === "connected") {
      this.#stop("ask", "connect", "reconnect");
      this.#become("connected");
      this.#connected.resolve();
    } else if (state === "failed" && this.state === "connecting") {
      this.#endWithReason(notConnected());
    } else if ((state === "disconnected" || state === "failed") && this.state !== "connecting") {
      // The path is being mended: see KeptPath.
      this.#become("reconnecting");
      if (!this.#timers.has("reconnect")) this.#later("reconnect", RECONNECT_WITHIN, () => this.#endWithReason(lost()));
      if (state === "failed") this.#endIfEnded();
    }
  }

  #received(event) {
    this.#say("event", event);
    for (const item of this.#conversation.apply(event)) this.#say("transcript", item);
  }

  /** End the call as the server tells it: only that can tell an agent that hung up from a firewall. Else with `problem`. */
  async #endWithReason(problem) {
    if (this.#asking) return;
    this.#asking = true;
    await this.#endIfEnded();
    this.#asking = false;
    this.#end(problem);
  }

  async #endIfEnded() {
    const status = await this.#call.status();
    if (status?.status === "ended") this.#end(problemOf(status, null), status);
  }

  #end(problem, status = null) {
    if (this.state === "ended") return;
    this.problem = problem;
    this.ending = status;
    this.#release();
    if (problem) this.#say("problem", problem);
    this.#become("ended");
    this.#connected?.reject(problem ?? new AntiphonError("the call was hung up before it was connected", { kind: "aborted" }));
  }

  #release() {
    this.#stop(...this.#timers.keys());
    this.#ready?.close();
    this.#microphone?.close();
    this.#silence?.close().catch(() => {});
    if (this.#audio?.srcObject === this.stream) this.#audio?.pause();
    this.#call?.hangUp({ tell: this.ending === null && this.problem?.kind !== "ended" });
  }

  #later(name, ms, action) {
    this.#timers.set(name, setTimeout(action, ms));
  }

  #stop(...names) {
    for (const name of names) {
      clearInterval(this.#timers.get(name));
      this.#timers.delete(name);
    }
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#say("state", state);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function invalid(message) {
  return new AntiphonError(message, { kind: "invalid" });
}

function aborted(signal) {
  return new AntiphonError("the call was given up", { kind: "aborted", cause: signal.reason });
}

function notConnected() {
  return new AntiphonError("the server answered, but no connection for audio came about: a firewall may block it", { kind: "no_media" });
}

function lost() {
  return new AntiphonError("the connection was lost and did not come back", { kind: "lost" });
}

/** What is wrong with an ending; null for a conversation that ended as conversations do. */
function problemOf(status, otherwise) {
  if (!status) return otherwise;
  return status.fault ? new AntiphonError(status.message, { kind: "ended", code: status.reason }) : null;
}
