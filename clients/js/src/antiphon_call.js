// One call to an Antiphon server: offer and answer, the data channel, and a KeptPath that keeps it alive while relays and networks
// come and go. No DOM, no microphone of its own. docs/antiphon-js.md explains it.

import { REPORT_EVERY, digestOf } from "./client_stats.js";
import { KeptPath } from "./kept_path.js";
import { PathWatch } from "./path_watch.js";
import { apart, splitRelays } from "./relays.js";
import { request } from "./request.js";

const ANSWERED_WITHIN = 500; // ms for the server's answer to a prepared call; then an ordinary one is placed
const PREPARED_MARGIN = 3000; // ms before the server drops it in which a prepared call is not used any more
const REOFFER_WITHIN = 3000; // ms for the server's answer to an ICE restart

/**
 * One call, without a microphone or a sound of its own. Events: "message" (detail: a server event), "open" and "close" of the data
 * channel, "track" (detail: the agent's MediaStreamTrack), "state" (the peer connection's), "quiet", "moved", "restart", "back" and
 * "path" of its KeptPath, "ended" (detail: the server's status of the call, or null) where the path was lost for good.
 */
export class AntiphonCall extends EventTarget {
  id = null; // the server's name for the call
  peer = null; // RTCPeerConnection
  channel = null; // RTCDataChannel "oai-events"
  path = null; // KeptPath
  region = null; // of the server's end of the call, where the server names it
  #server;
  #key;
  #steering;
  #report;
  #ingresses = []; // the regions of the answer's relays, in their order
  #location = null; // of the call on the server
  #prepared = null; // {id, region, ingresses, answer, until} of `prepare`, and `candidates` where the answer is in place without them
  #waits = false; // `prepare` was called, and `connect` was not
  #track = null; // the agent's, of a call that waits
  #stream = null; // the caller's voice
  #sender = null; // RTCRtpSender of it
  #over = false;
  #reporting = null; // timer of the reports
  #reported = null; // what the next report needs of the last one

  /**
   * `server`: origin of the signaling service, "" for the page's own. `key`: an API key or an ek_ secret. `steering`: what
   * differs from STEERING in path_watch.js; false: a bad path is kept, a dead one left. `report`: every 5 s
   * the server gets a digest of getStats; false: it gets none.
   */
  constructor({ server = "", key = null, steering = {}, report = true } = {}) {
    super();
    if (steering) new PathWatch(steering); // a mistake in it is told here
    this.#server = server;
    this.#key = key;
    this.#steering = steering;
    this.#report = report;
  }

  /**
   * Have the offer answered before the call: `connect` then asks the server for nothing, within `preparedFor` ms. It takes no
   * microphone, and is no call at the server yet. AntiphonError where the server refuses.
   */
  async prepare({ agent = null, region = null, race = null } = {}) {
    this.#waits = true;
    const peer = this.#open(null);
    const offer = await peer.createOffer();
    const [answered] = await Promise.all([this.#post("/v1/realtime/prepare", offer.sdp, { agent, region, race }), peer.setLocalDescription(offer)]);
    const until = performance.now() + answered.kept * 1000 - PREPARED_MARGIN;
    const early = !this.#over && waitsForCandidates() ? apart(answered.answer) : null;
    if (early?.candidates.length) await peer.setRemoteDescription({ type: "answer", sdp: early.sdp });
    this.#prepared = { ...answered, candidates: early?.candidates ?? [], until };
    if (this.#over) peer.close();
  }

  /** What `prepare` has prepared can be used now. */
  get prepared() {
    return this.preparedFor > 0;
  }

  /** For so many ms; 0: nothing is prepared. */
  get preparedFor() {
    return this.#prepared && !this.#over ? Math.max(0, this.#prepared.until - performance.now()) : 0;
  }

  /**
   * Place the call with this MediaStream as the caller's voice; resolves when the answer is in place. `stream` may be a promise of
   * one: a prepared call connects meanwhile. `region`: where the caller is, for a server that can't tell. `race`: true for two
   * relays of equal priority, false for an order; null: as the server does. A prepared call has its own `agent`, `region` and
   * `race`; these here count where it is not answered within ANSWERED_WITHIN, and an ordinary one is placed.
   */
  async connect({ stream, agent = null, region = null, race = null }) {
    this.#waits = false;
    if (this.prepared && (await this.#usePrepared(stream))) return;
    this.#drop();
    this.#stream ??= await stream; // unless it was replaced already
    if (this.#over) return;
    const peer = this.#open(this.#stream);
    const offer = await peer.createOffer();
    const [answered] = await Promise.all([this.#post("/v1/realtime/calls", offer.sdp, { agent, region, race }), peer.setLocalDescription(offer)]);
    this.#begin(answered);
    if (this.#over) return this.#tellServer(); // hung up while the offer was on its way
    await peer.setRemoteDescription({ type: "answer", sdp: splitRelays(answered.answer).first });
    this.#keep(answered);
  }

  /** A new connection with its channel. Without a stream its voice is silent until `replaceMicrophone`. */
  #open(stream) {
    // No ICE servers and no waiting for candidates: the server is the one with an address (it is ICE-lite).
    const peer = (this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    const channel = (this.channel = peer.createDataChannel("oai-events"));
    const mine = (action) => (event) => this.peer === peer && action(event);
    peer.addEventListener("connectionstatechange", mine(() => this.#say("state", peer.connectionState)));
    peer.addEventListener("track", mine(({ track }) => (this.#waits ? (this.#track = track) : this.#say("track", track))));
    for (const type of ["open", "close"]) channel.addEventListener(type, mine(() => this.#say(type)));
    channel.addEventListener("message", mine(({ data }) => this.#received(data)));
    const [track] = stream?.getAudioTracks() ?? [];
    this.#sender = peer.addTransceiver(track ?? "audio", { direction: "sendrecv", streams: [stream ?? new MediaStream()] }).sender;
    return peer;
  }

  /** Close the connection without a word: it is another one's turn. */
  #drop() {
    const peer = this.peer;
    this.peer = this.channel = this.#sender = null;
    peer?.close();
  }

  /** Whether the server answers the prepared call in time. Else it is given up, and what may have become of it is hung up. */
  async #usePrepared(stream) {
    const prepared = this.#prepared;
    const peer = this.peer;
    this.#prepared = null;
    this.#begin(prepared);
    const { answer, candidates } = prepared;
    const given = candidates.length ? Promise.all(candidates.map((candidate) => peer.addIceCandidate(candidate).catch(() => {}))) : peer.setRemoteDescription({ type: "answer", sdp: splitRelays(answer).first });
    if (this.#track) this.#say("track", this.#track);
    const voice = Promise.resolve(stream).then((opened) => this.peer === peer && !this.#over && this.replaceMicrophone(this.#stream ?? opened));
    voice.catch(() => {}); // it is awaited below
    await given;
    if (await isAnswered(peer, ANSWERED_WITHIN)) {
      if (!this.#over) this.#keep(prepared);
      await voice;
      return true;
    }
    this.#tellServer();
    return this.#over;
  }

  /** The call is the one with this answer. */
  #begin({ id, region, ingresses }) {
    this.id = id;
    this.region = region;
    this.#ingresses = ingresses;
    this.#location = id && `${this.#server}/v1/realtime/calls/${id}`;
  }

  /** The answer is in place: keep the connection alive. */
  #keep({ answer }) {
    if (this.#report) this.#reporting = setInterval(() => this.#sendReport(), REPORT_EVERY);
    const reoffer = this.#location && ((sdp) => this.#reoffer(sdp));
    this.path = new KeptPath(this.peer, answer, { steering: this.#steering, regions: this.#ingresses, reoffer, status: () => this.status() });
    for (const type of ["quiet", "moved", "restart", "back", "path"]) this.path.addEventListener(type, ({ detail }) => this.#say(type, detail));
    this.path.addEventListener("gone", ({ detail }) => this.#say("ended", detail));
  }

  /** Send the audio of another MediaStream as the caller's voice from now on; the call goes on. */
  async replaceMicrophone(stream) {
    this.#stream = stream;
    await this.#sender?.replaceTrack(stream.getAudioTracks()[0]);
  }

  /** Send a client event; false when the channel is not open. */
  send(event) {
    if (this.channel?.readyState !== "open") return false;
    this.channel.send(JSON.stringify(event));
    return true;
  }

  /**
   * What the server says of the call: {status: "running", "ended" or "unknown", connected, reason, cause, fault, message}. It
   * knows a call for two minutes after its end. null where it does not answer.
   */
  async status() {
    if (!this.#location) return null;
    const options = { signal: AbortSignal.timeout(2000) };
    return request(this.#location, options, this.#key).then((response) => response.json()).catch(() => null);
  }

  /** End the call here and, unless the server ended it already, there; safe at any time, also while the page goes away. */
  async hangUp({ tell = true } = {}) {
    this.#over = true;
    clearInterval(this.#reporting);
    this.path?.close();
    // Closed only then: a connection that closes first means that the call has ended, and there is nothing to hang up.
    if (tell) await this.#tellServer();
    this.peer?.close();
  }

  /** Send an offer: what the server says of the call besides its answer. */
  async #post(path, sdp, { agent, region, race }) {
    const wishes = { agent, region, race: race === null ? null : Number(race) };
    const query = new URLSearchParams(Object.entries(wishes).filter(([, value]) => value !== null)).toString();
    const response = await this.#offer(`${this.#server}${path}${query ? "?" + query : ""}`, sdp);
    return {
      id: response.headers.get("Location")?.split("/").pop() ?? null,
      region: decoded(response.headers.get("Antiphon-Region")),
      ingresses: ingressesOf(response),
      kept: Number(response.headers.get("Antiphon-Prepared") ?? 0),
      answer: await response.text(),
    };
  }

  /** An ICE restart: new credentials, everything else stays. A secret that has expired still manages the call that it has made. */
  async #reoffer(sdp) {
    const response = await this.#offer(this.#location, sdp, AbortSignal.timeout(REOFFER_WITHIN));
    return { answer: await response.text(), regions: ingressesOf(response) };
  }

  #offer(url, body, signal = null) {
    return request(url, { method: "POST", body, headers: { "Content-Type": "application/sdp" }, signal }, this.#key);
  }

  async #tellServer() {
    if (!this.id) return;
    const id = this.id;
    this.id = null;
    // keepalive: sent also when the page is being closed. If it gets lost the server notices the silence.
    const options = { method: "POST", keepalive: true, signal: AbortSignal.timeout(2000) };
    await request(`${this.#server}/v1/realtime/calls/${id}/hangup`, options, this.#key).catch(() => {});
  }

  async #sendReport() {
    if (this.channel?.readyState === "closed") clearInterval(this.#reporting);
    if (this.channel?.readyState !== "open" || this.channel.bufferedAmount > 0) return; // what the call is about goes first
    try {
      const { message, kept } = digestOf(await this.peer.getStats(), this.#reported);
      this.#reported = kept;
      if (message && !this.#over) this.send(message);
    } catch {
      // The connection has just ended, or the channel is full: the call does not need it.
    }
  }

  #received(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours
    }
    if (typeof event?.type !== "string" || this.#over) return;
    if (event.type === "antiphon.relay_draining") this.path?.move("draining");
    this.#say("message", event);
  }

  #say(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Whether an answer may be in place for a minute before its candidates: nothing but these is left to do at the click then.
 * Firefox gives a connection without candidates up after 5 s, and only Chromium's kind has this interface.
 */
function waitsForCandidates() {
  return Boolean(globalThis.navigator?.userAgentData);
}

/** Whether a check of this connection is answered within so many ms. */
function isAnswered(peer, ms) {
  return new Promise((resolve) => {
    const done = (answered) => {
      clearTimeout(timer);
      peer.removeEventListener("iceconnectionstatechange", look);
      resolve(answered);
    };
    const look = () => {
      if (["connected", "completed"].includes(peer.iceConnectionState)) done(true);
      else if (["failed", "closed"].includes(peer.iceConnectionState)) done(false);
    };
    const timer = setTimeout(() => done(false), ms);
    peer.addEventListener("iceconnectionstatechange", look);
    look();
  });
}

function ingressesOf(response) {
  return ["Antiphon-Ingress", "Antiphon-Second-Ingress"].map((name) => decoded(response.headers.get(name)));
}

function decoded(header) {
  try {
    return decodeURIComponent(header ?? "") || null;
  } catch {
    return header;
  }
}
