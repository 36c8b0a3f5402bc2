// Calls to an Antiphon server from any page: offer and answer, the data channel, staying connected when the relay in
// between goes away, and going by another one while the path is bad. No DOM, no microphone of its own, nothing needed
// but path_watch.js beside it. docs/antiphon-js.md explains it.
//
// An answer offers two relays. The browser is given the first; this module looks at what arrives, and when
// nothing does it adds the second one with a higher priority, to which the browser moves within a round trip.
// Where the server gives both the same priority the browser gets both, and its checks decide.

import { PathWatch, sampleOf } from "./path_watch.js";

const LOOK_EVERY = 100; // ms between two looks at what has arrived
const LOOK_CLOSER_EVERY = 50; // ms, once it is quiet; browsers renew their statistics no faster
const ASK_AFTER = 200; // ms without anything: from then on the server is asked to answer
const MOVE_AFTER = 400; // ms without anything, plus a round trip: the relay is gone
const MOVE_AFTER_AT_MOST = 700; // ms, likewise, where things come in bursts or the machine is busy: twice the usual quiet
const FORGET_QUIET = 0.98; // by which the usual quiet shrinks with each look: to a half in 3 s
const SETTLE = 1000; // ms that a move, and the first connection, are given
const LONGEST_ROUND_TRIP = 600; // ms; a longer one is counted as this
const ONE_WAY_AFTER = 4000; // ms between two moves while packets arrive but no check is answered
const REOFFER_WITHIN = 3000; // ms for the server's answer to an ICE restart
const PROBE_STREAM = 99; // an SCTP stream that the server does not read: it acknowledges and drops what comes there

// Firefox stays with the pair that it has nominated, whatever is better: it moves by an ICE restart only. The others
// take no restart whose answer has the same credentials, and move to a better candidate at once.
const MOVES_BY_RESTART = "mozInnerScreenX" in globalThis;

const FIRST_PRIORITY = 2130706000; // what the server gives its first candidate; there is room above
const MOVE_STEP = 1 << 12; // by which each move is above the one before: 4000 moves, of 16 candidates each, until the largest priority
const TCP_BELOW = 1 << 24; // UDP first, also after a move
const FOUNDATIONS_PER_RELAY = 10; // the tens of a candidate's foundation are its relay

/** The server did not take a request. `status` is 0 when it could not be reached at all. */
export class AntiphonError extends Error {
  constructor(message, { status = 0, code = null, retryAfter = null } = {}) {
    super(message);
    this.name = "AntiphonError";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, as text
  }
}

/** fetch with a key; anything but success is an AntiphonError. */
export async function request(url, options = {}, key = null) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    throw new AntiphonError(`the server does not answer: ${error.message}`);
  }
  if (response.ok) return response;
  const error = (await response.json().catch(() => null))?.error ?? {};
  const { status } = response;
  throw new AntiphonError(error.message ?? `status ${status}`, { status, code: error.code ?? null, retryAfter: response.headers.get("Retry-After") });
}

/**
 * One call. Events: "message" (detail: a server event), "open" and "close" of the data channel, "track" (detail: the
 * agent's MediaStreamTrack), "state" (the peer connection's), "quiet", "moved", "back" and "path" of its KeptPath.
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
  #ingresses = []; // the regions of the answer's relays, in their order
  #location = null; // of the call on the server
  #stream = null; // the caller's voice
  #sender = null; // RTCRtpSender of it
  #over = false;

  /**
   * `server`: origin of the signaling service, "" for the page's own. `key`: an API key or an ek_ secret. `steering`: what
   * differs from STEERING in path_watch.js; false: a bad path is kept, a dead one left.
   */
  constructor({ server = "", key = null, steering = {} } = {}) {
    super();
    if (steering) new PathWatch(steering); // a mistake in it is told here
    this.#server = server;
    this.#key = key;
    this.#steering = steering;
  }

  /**
   * Place the call with this MediaStream as the caller's voice; resolves when the answer is in place. `region`: where the
   * caller is, for a server that can't tell. `race`: true for two relays of equal priority, false for an order; null: as
   * the server does.
   */
  async connect({ stream, agent = null, region = null, race = null }) {
    // No ICE servers and no waiting for candidates: the server is the one with an address (it is ICE-lite).
    const peer = (this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    peer.addEventListener("connectionstatechange", () => this.#say("state", peer.connectionState));
    peer.addEventListener("track", ({ track }) => this.#say("track", track));
    this.channel = peer.createDataChannel("oai-events");
    for (const type of ["open", "close"]) this.channel.addEventListener(type, () => this.#say(type));
    this.channel.addEventListener("message", ({ data }) => this.#received(data));
    this.#stream ??= stream; // unless it was replaced already
    this.#sender = peer.addTransceiver(this.#stream.getAudioTracks()[0], { direction: "sendrecv", streams: [this.#stream] }).sender;
    const offer = await peer.createOffer();
    const wishes = { agent, region, race: race === null ? null : Number(race) };
    const [answer] = await Promise.all([this.#post(offer.sdp, wishes), peer.setLocalDescription(offer)]);
    if (this.#over) return;
    await peer.setRemoteDescription({ type: "answer", sdp: splitRelays(answer).first });
    const reoffer = (sdp) => this.#reoffer(sdp);
    this.path = new KeptPath(peer, answer, { steering: this.#steering, regions: this.#ingresses, reoffer });
    for (const type of ["quiet", "moved", "back", "path"]) this.path.addEventListener(type, ({ detail }) => this.#say(type, detail));
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
    this.path?.close();
    // Closed only then: a connection that closes first means that the call has ended, and there is nothing to hang up.
    if (tell) await this.#tellServer();
    this.peer?.close();
  }

  async #post(sdp, wishes) {
    const query = new URLSearchParams(Object.entries(wishes).filter(([, value]) => value !== null)).toString();
    const response = await this.#offer(`${this.#server}/v1/realtime/calls${query ? "?" + query : ""}`, sdp);
    const named = (name) => decoded(response.headers.get(name));
    this.region = named("Antiphon-Region");
    this.#ingresses = [named("Antiphon-Ingress"), named("Antiphon-Second-Ingress")];
    this.id = response.headers.get("Location")?.split("/").pop() ?? null;
    if (this.id) this.#location = `${this.#server}/v1/realtime/calls/${this.id}`;
    if (this.#over) await this.#tellServer(); // hung up while the offer was on its way
    return response.text();
  }

  /** An ICE restart: new credentials, everything else stays. */
  async #reoffer(sdp) {
    return (await this.#offer(this.#location, sdp, AbortSignal.timeout(REOFFER_WITHIN))).text();
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

function decoded(header) {
  try {
    return decodeURIComponent(header ?? "") || null;
  } catch {
    return header;
  }
}

/**
 * The answer without the candidates of all relays but the first and those of its priority; what each relay's candidates
 * are; and how many of the relays the browser is given.
 * Why the others are kept back: a browser ignores a candidate that it knows already, whatever its new priority.
 */
export function splitRelays(answer) {
  const relays = new Map();
  const lines = answer.split("\r\n");
  let section = -1;
  for (const line of lines) {
    if (line.startsWith("m=")) section += 1;
    const candidate = parseCandidate(line);
    if (candidate) relays.set(candidate.relay, [...(relays.get(candidate.relay) ?? []), { ...candidate, section }]);
  }
  const all = [...relays.values()];
  const others = all.findIndex(([{ priority }]) => priority !== all[0][0].priority);
  const given = others < 0 ? all.length : others;
  const held = new Set([...relays.keys()].slice(given));
  const kept = (line) => !held.has(parseCandidate(line)?.relay) && !(held.size && line === "a=end-of-candidates");
  return { first: lines.filter(kept).join("\r\n"), relays: all, given };
}

/** The answer with these candidates and no others, which are all there are. */
function withCandidates(answer, candidates) {
  const lines = [];
  let section = -1;
  const end = () => section === candidates[0].section && lines.push(...candidates.map(({ line }) => line), "a=end-of-candidates");
  for (const line of answer.split("\r\n")) {
    if (line.startsWith("a=candidate:") || line === "a=end-of-candidates") continue;
    if (line.startsWith("m=") || line === "") {
      end();
      section += 1;
    }
    lines.push(line);
  }
  return lines.join("\r\n");
}

function parseCandidate(line) {
  const found = /^a=candidate:(\S+) 1 (udp|tcp) (\d+) (\S+) (\d+) typ host( .*)?$/i.exec(line);
  if (!found) return null;
  const [, foundation, protocol, priority, host, port, rest = ""] = found;
  // A server that numbers in another way: each candidate counts as a relay.
  const relay = /^\d{2}$/.test(foundation) ? Math.floor(foundation / FOUNDATIONS_PER_RELAY) : foundation;
  return { relay, protocol: protocol.toLowerCase(), priority: Number(priority), host, port: Number(port), rest, line };
}

function nameOf([{ host, port }]) {
  return `${host}:${port}`;
}

/**
 * Watches what arrives on a peer connection and moves it to the next relay when nothing does; and by a PathWatch how good the
 * path is, and tries the next relay when it is bad.
 *
 * While the agent is silent the server sends a sign of life every 150 ms. These get lost as well, so after ASK_AFTER ms
 * a few bytes go to the server on a data channel stream of their own, and a living path brings their acknowledgement back.
 * Events: "quiet" (detail: ms), "moved" (detail: {relay, why, quiet_ms}), "back" (detail: {gap_ms}) after a move because of
 * quiet, "path" (detail: {state, relay, region, why, measured}): "used" where the browser uses another relay than before, "try",
 * "stay" and "back" of the PathWatch.
 */
export class KeptPath extends EventTarget {
  moves = 0;
  #peer;
  #answer;
  #relays;
  #given; // Set: names of the relays whose candidates the browser has since the last ICE restart
  #reoffer;
  #restarting = false; // at the server
  #watch = null; // PathWatch, where there is another relay to try
  #regions = new Map(); // relay's name: region
  #current = 0; // index of the relay that we moved to last
  #used = -1; // of the one that the browser says it uses; -1: it does not say
  #told = null; // name of the relay that "path" told of last
  #overTcp = false; // that one
  #probe = null;
  #bytes = -1; // that had arrived at the last look
  #usualQuiet = 0; // ms: the longest recent pause that ended without a move
  #receivedAt = performance.now();
  #lookedAt = performance.now();
  #quietSince = null; // when the quiet began that made us move
  #inVain = 0; // moves since then
  #patientUntil = performance.now() + SETTLE;
  #timer = null;
  #closed = false;

  /**
   * `answer`: the server's, whole; the peer connection has of it what `splitRelays` calls `first`. `steering`: as that of
   * AntiphonCall. `regions`: of the relays, in their order. `reoffer`: takes an offer to the server and resolves to the answer;
   * without it only Firefox can go back to a relay that it has used before.
   */
  constructor(peer, answer, { steering = {}, regions = [], reoffer = null } = {}) {
    super();
    const { relays, given } = splitRelays(answer);
    this.#peer = peer;
    this.#answer = answer;
    this.#relays = relays;
    this.#given = new Set(relays.slice(0, given).map(nameOf));
    this.#reoffer = reoffer;
    relays.forEach((relay, n) => this.#regions.set(nameOf(relay), regions[n] ?? null));
    if (steering && relays.length > 1) this.#watch = new PathWatch(steering);
    // Negotiated here alone: the server's end knows no such channel, acknowledges what comes and drops it.
    const watched = relays.length > 1 || relays.flat().some(({ protocol }) => protocol === "tcp");
    if (watched && peer.sctp) this.#probe = peer.createDataChannel("", { negotiated: true, id: PROBE_STREAM, ordered: false, maxRetransmits: 0 });
    if (watched) this.#again(LOOK_EVERY);
    else if (relays.length) setTimeout(() => this.#tell({ state: "used", relay: nameOf(relays[0]) }));
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  // By UDP the one relay there is knows us again when it is back. A TCP connection has ended with it, and browsers do not
  // connect anew by themselves: Chromium tries once, at once.
  get #canMove() {
    return this.#relays.length > 1 || this.#overTcp;
  }

  /** To the next relay, now; false when there is no other. `why`: for those who listen. */
  async move(why = "asked") {
    if (this.#closed || !this.#canMove) return false;
    const now = performance.now();
    if (why === "draining" && now < this.#patientUntil) return false; // repeated before the move is done
    this.#watch?.moved(now);
    await this.#go(this.#nextRelay(), why);
    return true;
  }

  #nextRelay() {
    // The browser may have chosen another path since; a relay that was tried in vain is not the current one.
    if (this.#inVain === 0 && this.#used >= 0) this.#current = this.#used;
    return (this.#current + 1) % this.#relays.length;
  }

  async #go(to, why) {
    this.moves += 1;
    this.#current = to;
    const now = performance.now();
    // Where no relay helps the network is away: asking ever more seldom, and the browser's own checks go on.
    // Chromium keeps a dead TCP connection for 5 s, in which it makes no other one to the same address.
    const seldom = this.#relays.length > 1 ? this.#inVain : this.#inVain - 8;
    this.#patientUntil = now + SETTLE * 2 ** Math.max(0, Math.min(seldom, 4));
    if (why === "quiet") {
      this.#quietSince ??= this.#receivedAt;
      this.#inVain += 1;
    }
    const relay = this.#relays[to];
    this.#say("moved", { relay: nameOf(relay), why, quiet_ms: now - this.#receivedAt });
    if (MOVES_BY_RESTART) return this.#restart(relay);
    if (!this.#given.has(nameOf(relay)) || !this.#reoffer) return this.#add(relay);
    this.#restartAtServer(relay, why); // not waited for: meanwhile the looks go on
  }

  /** One more candidate, better than those before: the browser checks it and moves without more help. */
  async #add(candidates) {
    this.#given.add(nameOf(candidates));
    await Promise.all(this.#preferred(candidates).map(({ line, section }) => this.#peer.addIceCandidate({ candidate: line.slice(2), sdpMLineIndex: section }).catch(() => {})));
  }

  /** These candidates with a priority above all before. */
  #preferred(candidates) {
    const top = FIRST_PRIORITY + MOVE_STEP * this.moves;
    return candidates.map((each, n) => {
      const { protocol, host, port, rest } = each;
      const priority = top - 256 * n - (protocol === "tcp" ? TCP_BELOW : 0);
      // A foundation of this move's own, or a browser that was here before takes it for one that it knows.
      return { ...each, line: `a=candidate:${this.moves}${n} 1 ${protocol} ${priority} ${host} ${port} typ host${rest}` };
    });
  }

  /**
   * An ICE restart (RFC 8445 section 9) without the server, towards these candidates. The server is ICE-lite: it sends no
   * checks and looks at its own half of their user name only, so it need not know our new one, and what it answered
   * still holds.
   */
  async #restart(candidates) {
    const peer = this.#peer;
    if (peer.signalingState !== "stable") return;
    peer.restartIce();
    await peer.setLocalDescription(await peer.createOffer());
    const answer = this.#answer.replace(/^(o=\S+ \S+) \d+ /m, `$1 ${1 + this.moves} `);
    await peer.setRemoteDescription({ type: "answer", sdp: withCandidates(answer, candidates) });
  }

  /**
   * An ICE restart with the server's new credentials: to a relay that the browser knows already, it goes by no other way.
   * Nothing is changed before the answer is there, so the call keeps its path where the server can't be reached.
   */
  async #restartAtServer(candidates, why) {
    if (this.#restarting) return;
    this.#restarting = true;
    const peer = this.#peer;
    try {
      const offer = await peer.createOffer({ iceRestart: true });
      const answer = await this.#reoffer(offer.sdp);
      if (this.#closed || peer.signalingState !== "stable") return;
      const { relays } = splitRelays(answer); // those of now: relays come and go in a long call
      const name = nameOf(candidates);
      const gone = !relays.some((relay) => nameOf(relay) === name);
      const instead = why === "not_better" || !gone ? null : relays.find((relay) => nameOf(relay) !== this.#told);
      const target = instead ?? candidates;
      await peer.setLocalDescription(offer);
      await peer.setRemoteDescription({ type: "answer", sdp: withCandidates(answer, this.#preferred(target)) });
      this.#answer = answer;
      this.#relays = gone && !instead ? [...relays, candidates] : relays;
      this.#current = this.#relays.findIndex((relay) => nameOf(relay) === nameOf(target));
      this.#given = new Set([nameOf(target)]);
    } catch {
      await this.#add(candidates); // of use if the browser has forgotten the relay by now
    } finally {
      this.#restarting = false;
    }
  }

  async #look() {
    const asked = performance.now();
    const { bytes, pair, remote, stats } = await arrived(this.#peer);
    const roundTrip = (pair?.currentRoundTripTime ?? 0) * 1000;
    this.#used = this.#relays.findIndex((relay) => relay.some(({ host, port }) => host === remote?.address && port === remote?.port));
    if (remote) this.#overTcp = remote.protocol === "tcp";
    if (this.#closed || ["closed", "failed"].includes(this.#peer.connectionState)) return;
    const now = performance.now();
    this.#tellUsed();
    // A look that comes late says nothing: the page slept, or its tab was in the background.
    const late = asked - this.#lookedAt > 4 * LOOK_EVERY;
    this.#lookedAt = asked;
    this.#usualQuiet *= FORGET_QUIET;
    if (bytes > this.#bytes) {
      if (this.#inVain === 0 && !late) this.#usualQuiet = Math.min(Math.max(this.#usualQuiet, now - this.#receivedAt), MOVE_AFTER_AT_MOST / 2);
      if (this.#quietSince !== null) this.#say("back", { gap_ms: now - this.#quietSince });
      this.#quietSince = null;
      this.#inVain = 0;
    }
    if (bytes > this.#bytes || late) this.#receivedAt = now;
    this.#bytes = bytes; // may be less: a browser forgets what it counted for a path that it gives up
    const quiet = now - this.#receivedAt;
    if (quiet >= ASK_AFTER && this.#canMove) this.#ask();
    const unusual = Math.max(MOVE_AFTER, 2 * this.#usualQuiet);
    // Without probes, and from a server that gives no signs of life, a silent agent's reports come once a second.
    const limit = this.#probe?.readyState === "open" ? unusual + Math.min(roundTrip, LONGEST_ROUND_TRIP) : 3 * MOVE_AFTER;
    if (quiet >= limit && now >= this.#patientUntil && this.#canMove) {
      this.#say("quiet", quiet);
      await this.move("quiet");
    } else if (quiet < ASK_AFTER) {
      await this.#steer(now, stats, pair);
    }
    this.#again(quiet >= ASK_AFTER / 2 ? LOOK_CLOSER_EVERY : LOOK_EVERY);
  }

  /** Packets arrive; whether they come by a good path, and whether what we send arrives. */
  async #steer(now, stats, pair) {
    if (this.#peer.connectionState === "disconnected" && now >= this.#patientUntil && this.#canMove) {
      await this.move("one_way");
      this.#patientUntil = now + ONE_WAY_AFTER;
      return;
    }
    if (!this.#watch?.due(now)) return;
    const used = this.#relays[this.#used];
    const command = this.#watch.look(now, sampleOf(stats, used ? nameOf(used) : null, pair));
    if (!command) return;
    const to = command.do === "try" ? this.#nextRelay() : this.#relays.findIndex((relay) => nameOf(relay) === command.to);
    const relay = this.#relays[command.do === "stay" ? this.#used : to];
    if (relay) this.#tell({ ...command, state: command.do, relay: nameOf(relay) });
    // A relay that did not answer in time is still given up where the browser goes by a restart: it may be about to fail.
    if (command.do === "try" || (command.do === "back" && to >= 0 && (to !== this.#used || MOVES_BY_RESTART))) await this.#go(to, command.why);
  }

  #tellUsed() {
    const used = this.#relays[this.#used];
    if (!used || nameOf(used) === this.#told) return;
    this.#told = nameOf(used);
    this.#tell({ state: "used", relay: this.#told });
  }

  #tell({ state, relay, why = null, measured = null, wait_ms = null }) {
    this.#say("path", { state, relay, region: this.#regions.get(relay) ?? null, why, measured, wait_ms });
  }

  #ask() {
    if (this.#probe?.readyState !== "open" || this.#probe.bufferedAmount > 1000) return;
    try {
      this.#probe.send("?");
    } catch {
      // full or closing: the next look tells
    }
  }

  #again(ms) {
    if (!this.#closed) this.#timer = setTimeout(() => this.#look().catch(() => this.#again(LOOK_EVERY)), ms);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Bytes that a peer connection has received (media, reports, data; no ICE checks), the pair and the remote candidate that it
 * uses, and all the rest of its statistics.
 */
async function arrived(peer) {
  const stats = await peer.getStats();
  let [transport, pairs, streams, used] = [null, 0, 0, null];
  for (const entry of stats.values()) {
    if (entry.type === "transport") {
      transport = (transport ?? 0) + (entry.bytesReceived ?? 0);
      used = stats.get(entry.selectedCandidatePairId) ?? used;
    } else if (entry.type === "inbound-rtp") {
      streams += entry.bytesReceived ?? 0;
    } else if (entry.type === "candidate-pair") {
      pairs += entry.bytesReceived ?? 0;
      if (entry.selected) used = entry; // Firefox's way to say it
    }
  }
  return {
    bytes: transport || pairs || streams,
    pair: used,
    remote: stats.get(used?.remoteCandidateId) ?? null,
    stats,
  };
}
