// Calls to an Antiphon server from any page: offer and answer, the data channel, and staying connected when the
// relay in between goes away. No dependencies, no DOM, no microphone of its own. docs/antiphon-js.md explains it.
//
// An answer offers two relays. The browser is given the first; this module looks at what arrives, and when
// nothing does it adds the second one with a higher priority, to which the browser moves within a round trip.

const LOOK_EVERY = 100; // ms between two looks at what has arrived
const LOOK_CLOSER_EVERY = 50; // ms, once it is quiet; browsers renew their statistics no faster
const ASK_AFTER = 200; // ms without anything: from then on the server is asked to answer
const MOVE_AFTER = 400; // ms without anything, plus a round trip: the relay is gone
const MOVE_AFTER_AT_MOST = 700; // ms, likewise, where things come in bursts or the machine is busy: twice the usual quiet
const FORGET_QUIET = 0.98; // by which the usual quiet shrinks with each look: to a half in 3 s
const SETTLE = 1000; // ms that a move, and the first connection, are given
const LONGEST_ROUND_TRIP = 600; // ms; a longer one is counted as this
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
 * agent's MediaStreamTrack), "state" (the peer connection's), "quiet", "moved" and "back" of its KeptPath.
 */
export class AntiphonCall extends EventTarget {
  id = null; // the server's name for the call
  peer = null; // RTCPeerConnection
  channel = null; // RTCDataChannel "oai-events"
  path = null; // KeptPath
  #server;
  #key;
  #location = null; // of the call on the server
  #over = false;

  /** `server`: origin of the signaling service, "" for the page's own. `key`: an API key or an ek_ secret. */
  constructor({ server = "", key = null } = {}) {
    super();
    this.#server = server;
    this.#key = key;
  }

  /** Place the call with this MediaStream as the caller's voice; resolves when the answer is in place. */
  async connect({ stream, agent = null }) {
    // No ICE servers and no waiting for candidates: the server is the one with an address (it is ICE-lite).
    const peer = (this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    peer.addEventListener("connectionstatechange", () => this.#say("state", peer.connectionState));
    peer.addEventListener("track", ({ track }) => this.#say("track", track));
    this.channel = peer.createDataChannel("oai-events");
    for (const type of ["open", "close"]) this.channel.addEventListener(type, () => this.#say(type));
    this.channel.addEventListener("message", ({ data }) => this.#received(data));
    peer.addTransceiver(stream.getAudioTracks()[0], { direction: "sendrecv", streams: [stream] });
    const offer = await peer.createOffer();
    const [answer] = await Promise.all([this.#post(offer.sdp, agent), peer.setLocalDescription(offer)]);
    if (this.#over) return;
    await peer.setRemoteDescription({ type: "answer", sdp: splitRelays(answer).first });
    this.path = new KeptPath(peer, answer);
    for (const type of ["quiet", "moved", "back"]) this.path.addEventListener(type, ({ detail }) => this.#say(type, detail));
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

  async #post(sdp, agent) {
    const url = `${this.#server}/v1/realtime/calls${agent ? "?" + new URLSearchParams({ agent }) : ""}`;
    const response = await request(url, { method: "POST", body: sdp, headers: { "Content-Type": "application/sdp" } }, this.#key);
    this.id = response.headers.get("Location")?.split("/").pop() ?? null;
    if (this.id) this.#location = `${this.#server}/v1/realtime/calls/${this.id}`;
    if (this.#over) await this.#tellServer(); // hung up while the offer was on its way
    return response.text();
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

/**
 * The answer without the candidates of all relays but the first, and what each relay's candidates are.
 * Why they are kept back: a browser ignores a candidate that it knows already, whatever its new priority.
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
  const [used] = relays.keys();
  const kept = (line) => (parseCandidate(line)?.relay ?? used) === used && !(relays.size > 1 && line === "a=end-of-candidates");
  return { first: lines.filter(kept).join("\r\n"), relays: [...relays.values()] };
}

function parseCandidate(line) {
  const found = /^a=candidate:(\S+) 1 (udp|tcp) (\d+) (\S+) (\d+) typ host( .*)?$/i.exec(line);
  if (!found) return null;
  const [, foundation, protocol, , host, port, rest = ""] = found;
  // A server that numbers in another way: each candidate counts as a relay.
  const relay = /^\d{2}$/.test(foundation) ? Math.floor(foundation / FOUNDATIONS_PER_RELAY) : foundation;
  return { relay, protocol: protocol.toLowerCase(), host, port: Number(port), rest, line };
}

/**
 * Watches what arrives on a peer connection and moves it to the next relay when nothing does.
 *
 * While the agent is silent the server sends a sign of life every 150 ms. These get lost as well, so after ASK_AFTER ms
 * a few bytes go to the server on a data channel stream of their own, and a living path brings their acknowledgement back.
 * Events: "quiet" (detail: ms), "moved" (detail: {relay, why, quiet_ms}), "back" (detail: {gap_ms}) after a move.
 */
export class KeptPath extends EventTarget {
  moves = 0;
  #peer;
  #answer;
  #relays;
  #current = 0; // index of the relay that we moved to last
  #used = -1; // of the one that the browser says it uses; -1: it does not say
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

  /** `answer`: the server's, whole; the peer connection has the first relay of it (`splitRelays`). */
  constructor(peer, answer) {
    super();
    const { relays } = splitRelays(answer);
    this.#peer = peer;
    this.#answer = answer;
    this.#relays = relays;
    // Negotiated here alone: the server's end knows no such channel, acknowledges what comes and drops it.
    const watched = relays.length > 1 || relays.flat().some(({ protocol }) => protocol === "tcp");
    if (watched && peer.sctp) this.#probe = peer.createDataChannel("", { negotiated: true, id: PROBE_STREAM, ordered: false, maxRetransmits: 0 });
    if (watched) this.#again(LOOK_EVERY);
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
    if (why === "draining" && performance.now() < this.#patientUntil) return false; // repeated before the move is done
    this.moves += 1;
    // The browser may have chosen another path since; a relay that was tried in vain is not the current one.
    if (this.#inVain === 0 && this.#used >= 0) this.#current = this.#used;
    this.#current = (this.#current + 1) % this.#relays.length;
    const now = performance.now();
    // Where no relay helps the network is away: asking ever more seldom, and the browser's own checks go on.
    // Chromium keeps a dead TCP connection for 5 s, in which it makes no other one to the same address.
    const seldom = this.#relays.length > 1 ? this.#inVain : this.#inVain - 8;
    this.#patientUntil = now + SETTLE * 2 ** Math.max(0, Math.min(seldom, 4));
    if (why === "quiet") {
      this.#quietSince ??= this.#receivedAt;
      this.#inVain += 1;
    }
    const candidates = this.#relays[this.#current];
    this.#say("moved", { relay: `${candidates[0].host}:${candidates[0].port}`, why, quiet_ms: now - this.#receivedAt });
    await (MOVES_BY_RESTART ? this.#restart(candidates) : this.#add(candidates));
    return true;
  }

  /** One more candidate, better than those before: the browser checks it and moves without more help. */
  async #add(candidates) {
    const top = FIRST_PRIORITY + MOVE_STEP * this.moves;
    await Promise.all(
      candidates.map(({ protocol, host, port, rest, section }, n) => {
        const priority = top - 256 * n - (protocol === "tcp" ? TCP_BELOW : 0);
        // A foundation of this move's own, or a browser that was here before takes it for one that it knows.
        const candidate = `candidate:${this.moves}${n} 1 ${protocol} ${priority} ${host} ${port} typ host${rest}`;
        return this.#peer.addIceCandidate({ candidate, sdpMLineIndex: section }).catch(() => {});
      }),
    );
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
    const lines = [];
    const others = this.#answer.split("\r\n").filter((line) => !line.startsWith("a=candidate:") && line !== "a=end-of-candidates");
    let section = -1;
    const end = () => lines.push(...(section === candidates[0].section ? [...candidates.map(({ line }) => line), "a=end-of-candidates"] : []));
    for (const line of others) {
      if (line.startsWith("m=") || line === "") {
        end();
        section += 1;
      }
      lines.push(line.replace(/^(o=\S+ \S+) \d+ /, `$1 ${1 + this.moves} `));
    }
    await peer.setRemoteDescription({ type: "answer", sdp: lines.join("\r\n") });
  }

  async #look() {
    const asked = performance.now();
    const { bytes, roundTrip, remote } = await arrived(this.#peer);
    this.#used = this.#relays.findIndex((relay) => relay.some(({ host, port }) => host === remote?.address && port === remote?.port));
    if (remote) this.#overTcp = remote.protocol === "tcp";
    if (this.#closed || ["closed", "failed"].includes(this.#peer.connectionState)) return;
    const now = performance.now();
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
    }
    this.#again(quiet >= ASK_AFTER / 2 ? LOOK_CLOSER_EVERY : LOOK_EVERY);
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
 * Bytes that a peer connection has received (media, reports, data; no ICE checks), its round trip in ms, and the remote
 * candidate that it uses.
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
    roundTrip: (used?.currentRoundTripTime ?? 0) * 1000,
    remote: stats.get(used?.remoteCandidateId) ?? null,
  };
}
