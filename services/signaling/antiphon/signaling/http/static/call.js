// One call as a person sees it: microphone, states, statistics, and every failure in words. No DOM.
// The connection itself is in antiphon.js.
//
// Told by events: "state" (this.state changed), "message" (detail: a server event of the data channel),
// "stream" (detail: {side, stream}), "numbers" (this.numbers changed), "path" (this.path changed), "microphone"
// (this.microphone changed).

import { AntiphonCall, AntiphonError, Microphone, MicrophoneError, microphoneIsGranted, request } from "./antiphon.js";
import { CallProblem } from "./call_problem.js";

const ASK_EVERY = 1500; // ms, while there is no connection: the agent may have ended the call already
const CONNECT_WITHIN = 15000; // ms from the answer to a connected call
const RECONNECT_WITHIN = 45000; // ms: the server keeps a call without its client for 30 s

export class Call extends EventTarget {
  state = "microphone"; // then connecting, listening, speaking, reconnecting, ended
  problem = null; // CallProblem, when the call did not end as wished
  ending = null; // who ended the call, in words, when that was no problem and not the caller
  numbers = { setup_ms: null, round_trip_ms: null, packets_received: 0, packets_lost: 0, remote_packets_lost: null };
  moves = []; // to another relay: {relay, why, quiet_ms, gap_ms}
  path = { relay: null, region: null, call_region: null, trying: null, last: null }; // as the "path" events tell it
  microphone = { state: "none", problem: "", label: "" }; // none: the caller types only
  #connection = null; // AntiphonCall
  #microphone = null; // Microphone
  #silence = null; // the stream of a call without one
  #asking = false; // why the call is over
  #tellsSpeaking = false; // the agent sends output_audio_buffer events
  #grantedAt = 0;
  #givesUp = null; // timer, while there is no connection
  #timers = [];

  /**
   * Make the call. `silence` is the stream to send when the caller wants to type only. `ready`: PreparedCall, of which the call is
   * taken if it is there: it connects while the microphone is being opened.
   */
  async start({ agent, key, silence = null, ready = null, steering = {}, region = null, race = null }) {
    try {
      this.#silence = silence;
      const opened = silence ? Promise.resolve() : this.#open();
      opened.catch(() => {}); // it is awaited below
      const prepared = (this.#connection = (await ready?.take()) ?? null);
      if (!prepared || !(silence || (await microphoneIsGranted()))) await opened;
      if (this.state === "ended") return this.#release();
      this.#grantedAt = performance.now();
      this.#become("connecting");
      const stream = opened.then(() => {
        if (this.state !== "ended") this.#say("stream", { side: "microphone", stream: this.#stream });
        return this.#stream;
      });
      stream.catch(() => {}); // likewise
      await this.#connect({ stream, agent, region, race }, prepared ?? new AntiphonCall({ key, steering }));
    } catch (error) {
      const known = error instanceof MicrophoneError ? new CallProblem(error.kind, error.message) : error instanceof AntiphonError ? inWords(error, key) : error;
      this.#end(known instanceof CallProblem ? known : new CallProblem("failed", `The call failed: ${known.message}`));
    }
  }

  /** End the call; safe at any time, also while the page goes away. */
  hangUp() {
    this.#end(null);
  }

  /** Send a client event; false when the channel is not open. */
  send(event) {
    return this.#connection?.send(event) ?? false;
  }

  get canType() {
    return this.#connection?.channel?.readyState === "open";
  }

  /** What the agent's loudness says about who speaks; counts only for agents that do not tell it themselves. */
  agentSounding(sounding) {
    if (this.#tellsSpeaking) return;
    if (this.state === "listening" && sounding) this.#become("speaking");
    else if (this.state === "speaking" && !sounding) this.#become("listening");
  }

  /** All the browser knows, for tests and the curious. */
  async stats() {
    const peer = this.#connection?.peer;
    return peer ? [...(await peer.getStats()).values()] : [];
  }

  get #stream() {
    return this.#silence ?? this.#microphone.stream;
  }

  async #open() {
    const microphone = (this.#microphone = new Microphone());
    microphone.addEventListener("state", () => {
      const { state, problem, label } = microphone;
      this.microphone = { state, problem, label };
      this.#say("microphone", this.microphone);
    });
    microphone.addEventListener("track", () => {
      this.#say("stream", { side: "microphone", stream: microphone.stream });
      this.#connection?.replaceMicrophone(microphone.stream).catch(() => {}); // the call may just have ended
    });
    await microphone.open();
  }

  async #connect(wishes, connection) {
    this.#connection = connection;
    connection.addEventListener("state", ({ detail }) => this.#connectionChanged(detail));
    connection.addEventListener("track", ({ detail }) => this.#say("stream", { side: "agent", stream: new MediaStream([detail]) }));
    connection.addEventListener("open", () => this.#say("numbers"));
    connection.addEventListener("message", ({ detail }) => this.#received(detail));
    connection.addEventListener("close", () => this.#closedByServer());
    connection.addEventListener("ended", ({ detail }) => this.#lostForGood(detail));
    connection.addEventListener("moved", ({ detail }) => this.moves.push({ ...detail, gap_ms: null }));
    connection.addEventListener("back", ({ detail }) => Object.assign(this.moves.at(-1), detail));
    connection.addEventListener("path", ({ detail }) => this.#pathChanged(detail));
    await connection.connect(wishes);
    if (this.state === "ended") return;
    this.#timers.push(setInterval(() => this.state === "connecting" && this.#endIfEnded(), ASK_EVERY));
    this.#later(CONNECT_WITHIN, () => {
      if (this.state !== "connecting") return;
      this.#endWithReason(new CallProblem("no_media", "The server answered, but no audio gets through: its UDP port can't be reached from here. A firewall may block it; on the server, “antiphon doctor” names what to fix."));
    });
    this.#timers.push(setInterval(() => this.#measure(), 1000));
  }

  #connectionChanged(state) {
    if (this.state === "ended") return;
    switch (state) {
      case "connected":
        this.numbers.setup_ms ??= performance.now() - this.#grantedAt;
        this.#say("numbers");
        this.#become("listening");
        clearTimeout(this.#givesUp);
        this.#givesUp = null;
        break;
      case "disconnected":
        if (this.state !== "connecting") this.#reconnecting();
        break;
      case "failed":
        if (this.state === "connecting") this.#endWithReason(new CallProblem("no_media", "The server answered, but no connection for audio came about. A firewall may block UDP; on the server, “antiphon doctor” names what to fix."));
        else this.#reconnecting();
        break;
      case "closed":
        this.#closedByServer();
    }
  }

  /** antiphon.js restarts ICE meanwhile, again and again, and says so when the server has no such call any more. */
  #reconnecting() {
    this.#become("reconnecting");
    this.#endIfEnded();
    if (this.#givesUp === null) this.#timers.push(this.#givesUp = setTimeout(() => this.#endWithReason(dropped()), RECONNECT_WITHIN));
  }

  #lostForGood(status) {
    if (status) this.#endAsTold(status);
    else this.#end(dropped());
  }

  #pathChanged({ state, relay, region, why, measured }) {
    const path = { ...this.path, call_region: this.#connection.region };
    if (state === "used") Object.assign(path, { relay, region });
    else if (state === "try") Object.assign(path, { trying: { relay, region, why, measured }, last: null });
    else Object.assign(path, { trying: null, last: state === "stay" ? "better" : why });
    this.path = path;
    this.#say("path", path);
  }

  #closedByServer() {
    this.#endWithReason(new CallProblem("closed", "The server ended the call."));
  }

  /** End the call as the server tells it: only that can tell an agent that hung up from a firewall. Else with `problem`. */
  async #endWithReason(problem) {
    if (this.state === "ended" || this.#asking) return;
    this.#asking = true;
    await this.#endIfEnded();
    this.#end(problem);
  }

  async #endIfEnded() {
    const status = await this.#connection.status();
    if (this.state !== "ended" && status?.status === "ended") this.#endAsTold(status);
  }

  #endAsTold(status) {
    if (!status.fault) this.ending = sentence(status.message);
    this.#end(status.fault ? new CallProblem(status.reason === "hang_up" ? "agent_ended" : "closed", sentence(status.message)) : null);
  }

  #received(event) {
    if (this.state === "ended") return;
    if (event.type === "output_audio_buffer.started") {
      this.#tellsSpeaking = true;
      if (this.state === "listening") this.#become("speaking");
    } else if (event.type === "output_audio_buffer.stopped" || event.type === "output_audio_buffer.cleared") {
      this.#tellsSpeaking = true;
      if (this.state === "speaking") this.#become("listening");
    }
    this.#say("message", event);
  }

  async #measure() {
    if (this.state === "ended") return;
    for (const entry of await this.stats().catch(() => [])) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        this.numbers.packets_received = entry.packetsReceived ?? 0;
        this.numbers.packets_lost = entry.packetsLost ?? 0;
      } else if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
        this.numbers.remote_packets_lost = entry.packetsLost ?? null;
      } else if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
        this.numbers.round_trip_ms = entry.currentRoundTripTime * 1000;
      }
    }
    this.#say("numbers");
  }

  #end(problem) {
    if (this.state === "ended") return;
    this.problem = problem;
    this.#release();
    this.#become("ended");
  }

  #release() {
    for (const timer of this.#timers) clearInterval(timer);
    this.#microphone?.close();
    this.#silence?.getTracks().forEach((track) => track.stop());
    this.#connection?.hangUp({ tell: !this.ending && !["closed", "agent_ended"].includes(this.problem?.kind) });
  }

  #later(ms, action) {
    this.#timers.push(setTimeout(action, ms));
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#say("state");
  }

  #say(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A request with the key, and every way in which it can fail put into words. */
export async function ask(url, key = null) {
  try {
    return await request(url, {}, key);
  } catch (error) {
    throw inWords(error, key);
  }
}

function dropped() {
  return new CallProblem("dropped", "The connection was lost and did not come back. Check your network, then call again.");
}

/** "the agent ended the call" -> "The agent ended the call." */
function sentence(message) {
  return `${message[0].toUpperCase()}${message.slice(1)}.`;
}

function inWords({ status, code, message, retryAfter }, key) {
  if (status === 0) return new CallProblem("gone", "The server does not answer. Is Antiphon still running, and are you online? Then start again.");
  if (status === 401) return new CallProblem("key", key ? `That key was not accepted: ${message}.` : "A key is needed to call here. Whoever runs this server can give you one.");
  if (code === "agent_ended") return new CallProblem(code, sentence(message));
  if (status === 503) return new CallProblem("busy", `The server can't take a call right now: ${message}.${retryAfter ? ` Try again in ${retryAfter} s.` : ""}`);
  return new CallProblem(code ?? "refused_by_server", `The server did not take the call: ${message}.`);
}
