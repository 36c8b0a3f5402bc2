// Keeps a peer connection on a path that works: moves it to the next relay, or restarts ICE at the server, when nothing arrives
// any more, and by a PathWatch tries the next relay while the path is bad. docs/antiphon-js.md explains it.
//
// An answer offers two relays. The browser is given the first. When nothing arrives, this cannot know whether the relay is dead
// or the device's own network has changed. So it does both at once: it adds the second relay with a higher priority, which needs
// no server, and asks the server for an ICE restart, which lets the browser use its new addresses, and TCP where UDP has died.

import { IceRestart } from "./ice_restart.js";
import { listenForNetworkSigns } from "./network_signs.js";
import { OneWayWatch, oneWaySampleOf } from "./one_way_watch.js";
import { PathWatch, sampleOf } from "./path_watch.js";
import { ASK_AFTER, LOOK_CLOSER_EVERY, LOOK_EVERY, QuietWatch } from "./quiet_watch.js";
import { FIRST_PRIORITY, nameOf, splitRelays, withCandidates } from "./relays.js";

const SETTLE = 1000; // ms that a move, a restart and the first connection are given
const ONE_WAY_AFTER = 4000; // ms between two moves while packets arrive but no check is answered
const PROBE_STREAM = 99; // an SCTP stream that the server does not read: it acknowledges and drops what comes there

// Firefox stays with the pair that it has nominated, whatever is better: it moves by an ICE restart only. The others
// take no restart whose answer has the same credentials, and move to a better candidate at once.
const MOVES_BY_RESTART = "mozInnerScreenX" in globalThis;

const MOVE_STEP = 1 << 12; // by which each move is above the one before: 16 candidates each, and room for 80000 moves

/**
 * One connection's. While the agent is silent the server sends a sign of life every 150 ms. These get lost as well, so after ASK_AFTER ms
 * a few bytes go to the server on a data channel stream of their own, and a living path brings their acknowledgement back.
 *
 * Events: "quiet" (detail: ms), "moved" (detail: {relay, why, quiet_ms}; relay is null where an ICE restart leaves the choice to
 * the browser), "restart" (detail: {state, why, error}), "back" (detail: {gap_ms}) after a move because of quiet, "gone" (detail:
 * the server's status of the call, or null), "path" (detail: {state, relay, region, why, measured}): "used" where the browser
 * uses another relay than before, "try", "stay" and "back" of the PathWatch.
 */
export class KeptPath extends EventTarget {
  moves = 0;
  #peer;
  #answer;
  #relays;
  #given; // Set: names of the relays whose candidates the browser has since the last ICE restart
  #restart = null; // IceRestart, where there is a way to the server
  #watch = null; // PathWatch, where there is another relay to try
  #quiet = new QuietWatch(performance.now());
  #oneWay = new OneWayWatch();
  #regions = new Map(); // relay's name: region
  #current = 0; // index of the relay that we moved to last
  #used = -1; // of the one that the browser says it uses; -1: it does not say
  #told = null; // name of the relay that "path" told of last
  #overTcp = false; // that one
  #probe = null;
  #arrivedAt = Date.now(); // by the wall clock, which runs on while a laptop sleeps
  #quietSince = null; // when the quiet began that made us move
  #inVain = 0; // moves since then
  #patientUntil = performance.now() + SETTLE;
  #looking = false;
  #timer = null;
  #signs = null; // ends the listening for signs of the network
  #closed = false;

  /**
   * `answer`: the server's, whole; the peer connection has of it what `splitRelays` calls `first`. `steering`: as that of
   * AntiphonCall. `regions`: of the relays, in their order. `reoffer`: takes an offer to the call's Location and resolves to the
   * answer, or to {answer, regions}; an error of it may have `status` and `retryAfter`. Without it the call can only move
   * between relays. `status`: resolves to what the server says of the call; null: it can't be asked.
   */
  constructor(peer, answer, { steering = {}, regions = [], reoffer = null, status = null } = {}) {
    super();
    const { relays, given } = splitRelays(answer);
    this.#peer = peer;
    this.#answer = answer;
    this.#relays = relays;
    this.#given = new Set(relays.slice(0, given).map(nameOf));
    this.#name(relays, regions);
    if (steering && relays.length > 1) this.#watch = new PathWatch(steering);
    if (reoffer) this.#restart = this.#restartBy(reoffer, status);
    // Negotiated here alone: the server's end knows no such channel, acknowledges what comes and drops it.
    const watched = reoffer || relays.length > 1 || relays.flat().some(({ protocol }) => protocol === "tcp");
    if (watched && peer.sctp) this.#probe = peer.createDataChannel("", { negotiated: true, id: PROBE_STREAM, ordered: false, maxRetransmits: 0 });
    if (watched) {
      this.#signs = listenForNetworkSigns((sign) => this.#networkSaid(sign));
      this.#again(LOOK_EVERY);
    } else if (relays.length) setTimeout(() => this.#tell({ state: "used", relay: nameOf(relays[0]) }));
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#signs?.();
    this.#restart?.close();
  }

  /** To the next relay, now; false when there is no other, or an ICE restart is under way. `why`: for those who listen. */
  async move(why = "asked") {
    if (this.#closed || !this.#canMove || this.#restart?.busy) return false;
    const now = performance.now();
    if (why === "draining" && now < this.#patientUntil) return false; // repeated before the move is done
    this.#watch?.moved(now);
    await this.#go(this.#nextRelay(), why);
    return true;
  }

  /** An ICE restart at the server, now: for a page that knows of a change of the network. False when none is possible. */
  restart(why = "asked") {
    if (this.#closed || !this.#restart?.possible) return false;
    return this.#restartAnywhere(performance.now(), why);
  }

  // By UDP the one relay there is knows us again when it is back. A TCP connection has ended with it, and browsers do not
  // connect anew by themselves: Chromium tries once, at once.
  get #canMove() {
    return this.#relays.length > 1 || this.#overTcp;
  }

  get #canRecover() {
    return this.#canMove || Boolean(this.#restart?.possible);
  }

  #restartBy(reoffer, status) {
    return new IceRestart(this.#peer, {
      reoffer: async (sdp) => {
        const answered = await reoffer(sdp);
        return typeof answered === "string" ? { answer: answered, regions: [] } : answered;
      },
      ended: async () => {
        const said = status ? await status() : null;
        return said?.status === "ended" ? said : null;
      },
      told: (state, { why, error = null, status: said = null }) => {
        if (this.#closed) return;
        this.#say("restart", { state, why, error });
        if (state === "gone") this.#say("gone", said);
      },
    });
  }

  #networkSaid(sign) {
    const now = performance.now();
    this.#quiet.hint(now);
    this.#restart?.networkChanged(now);
    if (this.#inVain > 0) [this.#inVain, this.#patientUntil] = [1, Math.min(this.#patientUntil, now)];
    // A call that had to go over TCP may find UDP on the other network.
    if (sign === "online" && this.#overTcp) this.restart("network");
    this.#again(0);
  }

  #nextRelay() {
    // The browser may have chosen another path since; a relay that was tried in vain is not the current one.
    if (this.#inVain === 0 && this.#used >= 0) this.#current = this.#used;
    return (this.#current + 1) % this.#relays.length;
  }

  async #go(to, why) {
    const relay = this.#relays[to];
    const now = performance.now();
    this.moves += 1;
    this.#current = to;
    this.#bePatient(now);
    if (why === "quiet") {
      this.#quietSince ??= this.#quiet.receivedAt;
      this.#inVain += 1;
    }
    this.#say("moved", { relay: nameOf(relay), why, quiet_ms: now - this.#quiet.receivedAt });
    if (MOVES_BY_RESTART) return this.#restartHere(relay);
    if (!this.#given.has(nameOf(relay)) || !this.#restart?.possible) return this.#add(relay);
    // Not waited for: meanwhile the looks go on. Without the server the candidate is of use if the browser has forgotten the relay.
    const otherwise = () => this.#add(relay);
    this.#restart.want(now, why, (answered) => this.#towards(relay, why, answered), { urgent: false, otherwise });
    this.#tick(now);
  }

  /** The path is dead: the next relay, if the browser does not know it yet, and an ICE restart to whatever works. */
  async #recover(now, why) {
    this.#watch?.moved(now);
    if (why === "quiet") this.#quietSince ??= this.#quiet.receivedAt;
    const restarting = this.#restart?.busy;
    // Firefox can restart by itself, and so at once. If that does not help, the server knows which relays there are by now.
    const here = MOVES_BY_RESTART && this.#relays.length > 0 && !restarting && (this.#inVain % 2 === 0 || !this.#restart?.possible);
    const next = this.#canMove ? this.#relays[this.#nextRelay()] : null;
    const add = !MOVES_BY_RESTART && next && (!this.#given.has(nameOf(next)) || !this.#restart?.possible) ? next : null;
    if (add) this.moves += 1;
    // Before the offer of the restart is made: the browser does one after the other.
    const adding = add && this.#add(add);
    const ask = !here && this.#restart?.possible && this.#restartAnywhere(now, why);
    this.#bePatient(now);
    if (here || (!add && ask && !restarting)) this.moves += 1;
    if (here || add || (ask && !restarting)) {
      this.#say("moved", { relay: add ? nameOf(add) : null, why, quiet_ms: now - this.#quiet.receivedAt });
      this.#inVain += 1;
    }
    if (add) {
      this.#current = this.#relays.indexOf(add);
      await adding;
    } else if (here) {
      const relays = next ? [next, ...this.#relays.filter((relay) => relay !== next)] : this.#relays;
      await this.#restartHere(relays.flat());
    }
  }

  // Where nothing helps the network is away: asking ever more seldom, and the browser's own checks go on.
  // Chromium keeps a dead TCP connection for 5 s, in which it makes no other one to the same address.
  #bePatient(now) {
    const seldom = this.#relays.length > 1 || this.#restart ? this.#inVain : this.#inVain - 8;
    this.#patientUntil = now + SETTLE * 2 ** Math.max(0, Math.min(seldom, 4));
  }

  /** One more candidate, better than those before: the browser checks it and moves without more help. */
  async #add(candidates) {
    this.#given.add(nameOf(candidates));
    await Promise.all(this.#preferred(candidates).map(({ line, section }) => this.#peer.addIceCandidate({ candidate: line.slice(2), sdpMLineIndex: section }).catch(() => {})));
  }

  /** These candidates with a priority above all before, UDP first. TCP too is above: where UDP is dead it is taken at once. */
  #preferred(candidates) {
    const top = FIRST_PRIORITY + MOVE_STEP * this.moves;
    const sorted = ["udp", "tcp"].flatMap((wanted) => candidates.filter(({ protocol }) => protocol === wanted));
    return sorted.map((each, n) => {
      const { protocol, host, port, rest } = each;
      const priority = top - 256 * n;
      // A foundation of this move's own, or a browser that was here before takes it for one that it knows.
      return { ...each, line: `a=candidate:${this.moves}${n} 1 ${protocol} ${priority} ${host} ${port} typ host${rest}` };
    });
  }

  /**
   * An ICE restart (RFC 8445 section 9) without the server, towards these candidates. The server is ICE-lite: it sends no
   * checks and looks at its own half of their user name only, so it need not know our new one, and what it answered
   * still holds.
   */
  async #restartHere(candidates) {
    const peer = this.#peer;
    if (peer.signalingState !== "stable") return;
    peer.restartIce();
    await peer.setLocalDescription(await peer.createOffer());
    const answer = this.#answer.replace(/^(o=\S+ \S+) \d+ /m, `$1 ${1 + this.moves} `);
    await peer.setRemoteDescription({ type: "answer", sdp: withCandidates(answer, candidates) });
  }

  /** An ICE restart at the server to whatever works: the answer's relays in the server's order, UDP before TCP. */
  #restartAnywhere(now, why) {
    // Firefox is about to do it by itself again: one request, or the two would meet.
    const wanted = this.#restart.want(now, why, (answered) => this.#anywhere(answered), { urgent: !MOVES_BY_RESTART });
    this.#tick(now);
    return wanted;
  }

  #tick(now) {
    this.#restart?.tick(now, () => Date.now() - this.#arrivedAt);
  }

  #anywhere({ answer, regions }) {
    const { relays } = splitRelays(answer); // those of now: relays come and go in a long call
    this.moves += 1;
    const candidates = this.#preferred(relays.flat());
    return {
      sdp: candidates.length ? withCandidates(answer, candidates) : answer,
      applied: () => {
        this.#answer = answer;
        this.#relays = relays;
        this.#name(relays, regions);
        this.#given = new Set(relays.map(nameOf));
        this.#current = 0;
        this.#patientUntil = Math.max(this.#patientUntil, performance.now() + SETTLE);
      },
    };
  }

  /**
   * An ICE restart with the server's new credentials, to this relay: to one that the browser knows already, it goes by no other way.
   * Nothing is changed before the answer is there, so the call keeps its path where the server can't be reached.
   */
  #towards(candidates, why, { answer, regions }) {
    const { relays } = splitRelays(answer);
    const name = nameOf(candidates);
    const gone = !relays.some((relay) => nameOf(relay) === name);
    const instead = why === "not_better" || !gone ? null : relays.find((relay) => nameOf(relay) !== this.#told);
    const target = instead ?? candidates;
    return {
      sdp: withCandidates(answer, this.#preferred(target)),
      applied: () => {
        this.#answer = answer;
        this.#relays = gone && !instead ? [...relays, candidates] : relays;
        this.#name(relays, regions);
        this.#current = this.#relays.findIndex((relay) => nameOf(relay) === nameOf(target));
        this.#given = new Set([nameOf(target)]);
      },
    };
  }

  #name(relays, regions) {
    relays.forEach((relay, n) => this.#regions.set(nameOf(relay), regions[n] ?? this.#regions.get(nameOf(relay)) ?? null));
  }

  async #look() {
    const asked = performance.now();
    const { bytes, pair, remote, stats } = await arrived(this.#peer);
    const now = performance.now();
    this.#used = this.#relays.findIndex((relay) => relay.some(({ host, port }) => host === remote?.address && port === remote?.port));
    if (remote) this.#overTcp = remote.protocol === "tcp";
    if (this.#closed || this.#peer.connectionState === "closed") return;
    this.#tellUsed();
    const round_trip_ms = (pair?.currentRoundTripTime ?? 0) * 1000;
    const probing = this.#probe?.readyState === "open";
    const { arrived: news, quiet, ask, dead } = this.#quiet.look({ asked, now, bytes, round_trip_ms, probing, learning: this.#inVain === 0 });
    const oneWay = this.#oneWay.look(now, oneWaySampleOf(stats, pair)) || ["disconnected", "failed"].includes(this.#peer.connectionState);
    if (news) {
      if (this.#quietSince !== null) this.#say("back", { gap_ms: now - this.#quietSince });
      this.#quietSince = null;
      this.#inVain = 0;
      this.#arrivedAt = Date.now();
      if (!oneWay) this.#restart?.spare();
    }
    if (ask && this.#canRecover) this.#ask();
    // Before anything has arrived the call is being set up: another relay may be reached, a restart would begin anew.
    if (dead && now >= this.#patientUntil && (this.#quiet.begun ? this.#canRecover : this.#canMove)) {
      this.#say("quiet", quiet);
      if (this.#quiet.begun) await this.#recover(now, "quiet");
      else await this.move("quiet");
    } else if (quiet < ASK_AFTER) {
      await this.#steer(now, stats, pair, oneWay);
    }
    this.#tick(performance.now());
    return quiet >= ASK_AFTER / 2 ? LOOK_CLOSER_EVERY : LOOK_EVERY;
  }

  /** Packets arrive; whether they come by a good path, and whether what we send arrives. */
  async #steer(now, stats, pair, oneWay) {
    if (oneWay && now >= this.#patientUntil && this.#canRecover) {
      await this.#recover(now, "one_way");
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
    if (this.#closed || this.#looking) return; // the look under way arranges the next
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      this.#looking = true;
      const next = await this.#look().catch(() => LOOK_EVERY);
      this.#looking = false;
      if (next !== undefined) this.#again(next);
    }, ms);
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
