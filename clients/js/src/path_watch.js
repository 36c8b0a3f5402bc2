// When a call's path is so bad that another relay is worth a try, and whether the try has helped. Statistics and the
// time come in, commands go out: no timers, no connection, no DOM. antiphon.js owns one PathWatch for each call.

/** What a PathWatch goes by. docs/antiphon-js.md explains each. */
export const STEERING = Object.freeze({
  loss: 0.04, // share of the packets of one direction
  round_trip_ms: 320,
  jitter_ms: 30,
  over_ms: 5000, // for so long
  settle_ms: 1500, // after a move nothing is measured: reports still tell of the path before
  better: 0.8, // a path that is still bad is kept when it is this much of what it was before, or less
  stay_ms: 20000, // after a move that helped
  wait_ms: Object.freeze([60000, 120000]), // after the first, second, ... move that did not help
});

const LIMITS = ["loss", "round_trip_ms", "jitter_ms"];
const LONGEST_WINDOW = 60000; // ms
const LOOKS_PER_WINDOW = 10;
const SLEPT = 3000; // ms between two looks: the page was not running
const PACKETS_PER_SECOND = 10; // fewer (DTX, a silent agent) say nothing about loss
const LEAST_LOST = 4; // packets
const FLOWING = 0.8; // of the window: for so long packets have to be sent, or nothing is known of their loss
const SPREAD = 0.4; // of the window: the first and the last loss are so far apart; one gap is no bad path
const LEAST_VALUES = 3; // of the round trip, or of the jitter, within the window

/**
 * One call's. `look` returns null or a command: {do: "try", why, measured} go to another relay, {do: "stay"} that has
 * helped, {do: "back", to, why, wait_ms} it has not.
 */
export class PathWatch {
  state = "watching"; // "trying": on the way to another relay, or measuring it; "waiting": no try before a certain time
  #settings;
  #every; // ms between two looks
  #looked = -Infinity;
  #path = null; // in use
  #samples = []; // of this path, LOOKS_PER_WINDOW and one at most
  #measureFrom = 0;
  #until = -Infinity; // of "waiting"; of "trying": when it is decided with what is known
  #reachBy = 0; // "trying": when the other relay has to be in use
  #from = null; // "trying": the path before
  #before = null; // "trying": what was measured there
  #why = null; // "trying"
  #failed = 0; // tries that did not help, since one did

  /** `settings`: those of STEERING that are to differ. RangeError for one that can't be. */
  constructor(settings = {}) {
    this.#settings = { ...STEERING, ...settings };
    for (const [name, value] of Object.entries(this.#settings)) {
      const values = name === "wait_ms" && Array.isArray(value) ? value : [value];
      const known = name in STEERING && (name === "wait_ms") === Array.isArray(value) && values.length > 0;
      if (!known || !values.every((each) => Number.isFinite(each) && each >= 0)) throw new RangeError(`steering: ${name} can't be ${JSON.stringify(value)}; known are ${Object.keys(STEERING).join(", ")}, numbers from 0 (wait_ms: a list of them)`);
    }
    const { over_ms } = this.#settings;
    if (over_ms < 1000 || over_ms > LONGEST_WINDOW) throw new RangeError(`steering: over_ms can't be ${over_ms}: 1000 to ${LONGEST_WINDOW}`);
    this.#every = over_ms / LOOKS_PER_WINDOW;
  }

  /** Whether `look` would take a sample now. */
  due(now) {
    return now < this.#looked || now - this.#looked >= this.#every;
  }

  /** `now`: ms of a monotonic clock. `sample`: as `sampleOf` makes it. */
  look(now, sample) {
    if (!this.due(now)) return null;
    const passed = now - this.#looked;
    this.#looked = now;
    if (passed < 0 || passed > Math.max(SLEPT, 2 * this.#every)) this.#wakeUp(now, passed);
    if (sample.path === null) return null; // the browser does not say what it uses: no try could be judged
    if (sample.path !== this.#path) this.#begin(now, sample.path);
    if (now >= this.#measureFrom) this.#samples.push({ ...sample, at: now });
    const { over_ms } = this.#settings;
    while (this.#samples.length > 1 && this.#samples[1].at <= now - over_ms) this.#samples.shift();
    const whole = this.#samples.length > 1 && this.#samples[0].at <= now - over_ms;
    return this.state === "trying" ? this.#judge(now, whole) : whole ? this.#consider(now) : null;
  }

  /** The call goes to another relay for another reason: the one before is dead, or drains. */
  moved(now) {
    if (this.state === "trying") this.#fail(now);
    this.#begin(now, this.#path);
  }

  #begin(now, path) {
    this.#path = path;
    this.#samples = [];
    this.#measureFrom = now + this.#settings.settle_ms;
  }

  #wakeUp(now, passed) {
    this.#samples = [];
    this.#measureFrom = now;
    if (this.state === "trying" ? Number.isFinite(passed) : passed < 0) {
      this.#until += passed; // sleep is no time in which a path could show what it is
      this.#reachBy += passed;
    }
  }

  #consider(now) {
    if (now < this.#until) return null;
    this.state = "watching";
    const measured = this.#measure();
    const why = this.#worst(measured);
    const { wait_ms, settle_ms, over_ms } = this.#settings;
    if (!why) {
      if (now - this.#until > wait_ms.at(-1)) this.#failed = 0; // that was long ago
      return null;
    }
    this.state = "trying";
    [this.#from, this.#before, this.#why] = [this.#path, measured, why];
    this.#reachBy = now + settle_ms + over_ms;
    this.#until = this.#reachBy + 2 * settle_ms + 3 * over_ms;
    return { do: "try", why, measured };
  }

  #judge(now, whole) {
    const over = now >= this.#until;
    if (this.#path === this.#from) return now >= this.#reachBy ? this.#fail(now, "not_reached", null) : null;
    if (!whole && !over) return null;
    const measured = this.#measure();
    if (measured[this.#why] === null && !over) return null; // silence: a little later there may be something to measure
    const good = !this.#worst(measured);
    if (!good && this.#badness(measured) > this.#settings.better * this.#badness(this.#before)) return this.#fail(now, "not_better", measured);
    this.state = "waiting";
    this.#until = now + this.#settings.stay_ms;
    this.#failed = 0;
    return { do: "stay", why: this.#why, measured };
  }

  #fail(now, why, measured) {
    const { wait_ms } = this.#settings;
    const wait = wait_ms[Math.min(this.#failed, wait_ms.length - 1)];
    this.#failed += 1;
    this.state = "waiting";
    this.#until = now + wait;
    return { do: "back", to: this.#from, why, measured, wait_ms: wait };
  }

  /** What the samples say; null for what they do not. */
  #measure() {
    const { over_ms } = this.#settings;
    const sides = ["up", "down"];
    return {
      loss: greatest(sides.map((side) => lossOf(this.#samples, side, over_ms))),
      round_trip_ms: usual(this.#samples.map(({ round_trip_ms }) => round_trip_ms)),
      jitter_ms: greatest(sides.map((side) => usual(steps(this.#samples, side).map(([, { jitter_ms }]) => jitter_ms)))),
    };
  }

  /** The limit that is passed by most; null: none is. */
  #worst(measured) {
    const passed = LIMITS.filter((name) => measured[name] > this.#settings[name]);
    return passed.sort((a, b) => measured[b] / this.#settings[b] - measured[a] / this.#settings[a])[0] ?? null;
  }

  #badness(measured) {
    return Math.max(...LIMITS.map((name) => (measured[name] ?? 0) / (this.#settings[name] || 1)));
  }
}

/**
 * What a PathWatch wants to know of an RTCStatsReport. `path`: a name of the relay in use; null: unknown. Browsers leave
 * out what they do not know (all of them a report before the first has come).
 */
export function sampleOf(stats, path, pair) {
  let [up, down, sent, reported] = [null, null, null, null];
  for (const entry of stats.values()) {
    if ((entry.kind ?? entry.mediaType ?? "audio") !== "audio") continue;
    if (entry.type === "outbound-rtp") sent = entry;
    else if (entry.type === "remote-inbound-rtp") reported = entry;
    else if (entry.type === "inbound-rtp" && Number.isFinite(entry.packetsReceived)) {
      const lost = entry.packetsLost ?? 0;
      down = { key: entry.ssrc, all: entry.packetsReceived + lost, lost, jitter_ms: milliseconds(entry.jitter) };
    }
  }
  if (Number.isFinite(sent?.packetsSent) && Number.isFinite(reported?.packetsLost)) {
    up = { key: sent.ssrc, all: sent.packetsSent, lost: reported.packetsLost, jitter_ms: milliseconds(reported.jitter) };
  }
  // The pair's comes from checks of this very path; a report's also has the way of an earlier report in it, up to 7 s old.
  return { path, up, down, round_trip_ms: milliseconds(pair?.currentRoundTripTime) ?? milliseconds(reported?.roundTripTime) };
}

function milliseconds(seconds) {
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** Neighbouring samples between which packets came on the same stream, whose counters were not begun anew. */
function steps(samples, side) {
  const pairs = samples.slice(1).map((sample, n) => [samples[n][side], sample[side], samples[n].at, sample.at]);
  return pairs.filter(([a, b]) => a && b && a.key === b.key && b.all > a.all);
}

function lossOf(samples, side, over) {
  let [all, lost, first, last] = [0, 0, Infinity, -Infinity];
  const moving = steps(samples, side);
  for (const [a, b, , at] of moving) {
    all += b.all - a.all;
    lost += b.lost - a.lost; // below 0: what was taken for lost came late
    if (b.lost > a.lost) [first, last] = [Math.min(first, at), at];
  }
  if (all < (PACKETS_PER_SECOND * over) / 1000 || moving.at(-1)[3] - moving[0][2] < FLOWING * over) return null;
  return lost >= LEAST_LOST && last - first >= SPREAD * over ? Math.min(1, lost / all) : 0;
}

/** What three of four values are not below: one that is high now and then is no bad path. */
function usual(values) {
  const known = values.filter(Number.isFinite).sort((a, b) => a - b);
  return known.length < LEAST_VALUES ? null : known[Math.floor((known.length - 1) / 4)];
}

function greatest(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
}
