// When a call's path is dead: nothing arrives any more, however silent the agent is. Counters and the time come in, a verdict
// goes out: no timers, no connection, no DOM. A KeptPath owns one.
//
// The server sends a sign of life about every 150 ms. Signs get lost, so after ASK_AFTER ms the caller of this asks the server
// (a few bytes that a living path acknowledges), and only what stays quiet after that is dead.

export const LOOK_EVERY = 100; // ms between two looks at what has arrived
export const LOOK_CLOSER_EVERY = 50; // ms, once it is quiet; browsers renew their statistics no faster
export const ASK_AFTER = 150; // ms without anything: from then on the server is asked to answer
export const FAIL_AFTER = 400; // ms without anything, at least, before the path is dead
const ANSWERED_AFTER = 200; // ms without anything, plus a round trip: the answer to the second question could be here
const FAIL_AFTER_AT_MOST = 700; // ms, plus a round trip, where things come in bursts or the machine is busy: twice the usual quiet
const FORGET_QUIET = 0.98; // by which the usual quiet shrinks with each look: to a half in 3 s
const LONGEST_ROUND_TRIP = 600; // ms; a longer one is counted as this
const LATE = 4 * LOOK_EVERY; // ms between two looks: the page slept, or its tab is in the background
const HINT_FOR = 5000; // ms in which a change of the network lowers the limit
const HINTED = 150; // ms after such a change, or after the last arrival, plus a round trip: the path is dead

/** One call's. `look` is called about every LOOK_EVERY ms. */
export class QuietWatch {
  #bytes = -1; // that had arrived at the last look
  #usualQuiet = 0; // ms: the longest recent pause that ended by itself
  #receivedAt;
  #lookedAt;
  #late = 0; // looks in succession that came late and found nothing new
  #hintedAt = -Infinity;

  /** `now`: ms of a monotonic clock, here and in all calls. */
  constructor(now) {
    this.#receivedAt = this.#lookedAt = now;
  }

  /** When something arrived last. */
  get receivedAt() {
    return this.#receivedAt;
  }

  /** Something has arrived in this call. */
  get begun() {
    return this.#bytes > 0;
  }

  /** The device's network has changed, or the page has slept: the path may be dead, so the verdict comes sooner. */
  hint(now) {
    this.#hintedAt = now;
  }

  /**
   * `bytes`: that have arrived so far. `asked`: when the look began, `now`: when `bytes` was known. `round_trip_ms`: of the path.
   * `probing`: the server can be asked. `learning`: no move is under way, so a pause that ends tells what is usual.
   */
  look({ asked, now, bytes, round_trip_ms = 0, probing = true, learning = true }) {
    const late = asked - this.#lookedAt > LATE;
    if (late) this.hint(now);
    this.#lookedAt = asked;
    this.#usualQuiet *= FORGET_QUIET;
    const arrived = bytes > this.#bytes;
    this.#late = arrived || !late ? 0 : this.#late + 1;
    if (arrived && learning && !late) this.#usualQuiet = Math.min(Math.max(this.#usualQuiet, now - this.#receivedAt), FAIL_AFTER_AT_MOST / 2);
    // A look that comes late says nothing: nothing arrives while a laptop sleeps. Two in succession do.
    if (arrived || this.#late === 1) this.#receivedAt = now;
    this.#bytes = bytes; // may be less: a browser forgets what it counted for a path that it gives up
    const quiet = now - this.#receivedAt;
    return { arrived, quiet, ask: quiet >= ASK_AFTER || (this.#hinted(now) && !arrived), dead: quiet >= this.#limit(now, round_trip_ms, probing) };
  }

  #hinted(now) {
    return now - this.#hintedAt < HINT_FOR;
  }

  #limit(now, round_trip_ms, probing) {
    // Without probes, and from a server that gives no signs of life, a silent agent's reports come once a second.
    if (!probing) return 3 * FAIL_AFTER;
    const round_trip = Math.min(round_trip_ms, LONGEST_ROUND_TRIP);
    const usual = Math.max(FAIL_AFTER, Math.max(ANSWERED_AFTER, 2 * this.#usualQuiet) + round_trip);
    if (!this.#hinted(now)) return usual;
    // The server was asked at the hint; before its answer can be here the quiet says nothing new.
    const answered = this.#hintedAt + HINTED + round_trip - this.#receivedAt;
    return Math.min(usual, Math.max(2 * HINTED, answered, 2 * this.#usualQuiet + round_trip));
  }
}
