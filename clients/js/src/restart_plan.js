// When an ICE restart is asked of the server, and asked again. Time and outcomes come in, "now" or "not yet" goes out: no timers,
// no requests, no connection. An IceRestart owns one.

const SECOND_AFTER = 800; // ms without an answer: the request may be on a connection that died with the path, so another is made
const AGAIN_AFTER = [100, 250, 500, 1000, 2000, 3000]; // ms after the first, second ... failure in a row; the last one repeats
const SPREAD = 0.25; // share of a wait by which it is longer or shorter: a server that comes back is not asked by all at once
const LONGEST_WAIT = 30000; // ms that a Retry-After may ask for
const MISSING_FOR = 8000; // ms in which no server knows the call: until then another one may be taking it over
const KEPT_FOR = 32000; // ms without a packet of ours: the server has ended the call (30 s, docs/signaling.md)
const LOST_AFTER = 60000; // ms without anything from a server, and none answers: the call is given up

/**
 * One call's. States: "idle" nothing is wanted; "wanted" a request is due, under way, or waits; "refused" the server takes no
 * restart of this client; "gone" the call is over. The last two are for good.
 */
export class RestartPlan {
  state = "idle";
  #urgent = false; // asked again until it has worked
  #running = 0; // requests
  #startedAt = 0; // the newest of them
  #failures = 0; // in a row
  #again = 0; // not before this time
  #missingSince = null; // since when the server knows no such call
  #random;

  constructor(random = Math.random) {
    this.#random = random;
  }

  /** A restart is wanted or under way. */
  get busy() {
    return this.state === "wanted";
  }

  /** `urgent`: the path is dead, so it is tried until it works; else one request is made. False: no restart is to be had. */
  want(now, urgent) {
    if (this.state === "refused" || this.state === "gone") return false;
    if (this.state === "idle") {
      this.#again = now;
      this.#failures = 0;
      this.#urgent = false;
    }
    this.state = "wanted";
    this.#urgent ||= urgent;
    return true;
  }

  /** The path works: nothing is asked again. Requests under way may still be answered. */
  spare() {
    if (!this.#urgent) return;
    this.#urgent = false;
    this.#missingSince = null;
    if (this.#running === 0 && this.busy) this.state = "idle";
  }

  /** Whether a request is to be made now; `started` says that it is. Two at most run at a time. */
  due(now) {
    if (!this.busy || now < this.#again) return false;
    return this.#running === 0 || (this.#urgent && this.#running === 1 && now - this.#startedAt >= SECOND_AFTER);
  }

  started(now) {
    this.#running += 1;
    this.#startedAt = now;
  }

  /** The network is another one, or back, as far as the browser knows: at once, and then as after a first failure. */
  networkChanged(now) {
    this.#failures = 0;
    if (this.busy && this.#running === 0) this.#again = now;
  }

  /** The answer is in force. */
  answered() {
    this.#running = Math.max(0, this.#running - 1);
    this.#failures = 0;
    this.#missingSince = null;
    if (this.busy) this.state = "idle";
  }

  /** A request ended after the restart was done by another one. */
  left() {
    this.#running = Math.max(0, this.#running - 1);
  }

  /**
   * A request came to nothing. `status`: of HTTP, 0 without an answer. `ended`: the server says that the call is over.
   * `quiet_ms`: since something arrived last, by the wall clock: it runs on while a laptop sleeps.
   */
  failed(now, { status = 0, retry_after_ms = 0, ended = false, quiet_ms = 0 } = {}) {
    this.#running = Math.max(0, this.#running - 1);
    if (this.state === "gone" || this.state === "refused") return;
    if (status === 404) this.#missingSince ??= now;
    else if (status !== 0) this.#missingSince = null;
    const missing = status === 404 && (quiet_ms >= KEPT_FOR || now - this.#missingSince >= MISSING_FOR);
    if (ended || missing || quiet_ms >= LOST_AFTER) this.state = "gone";
    else if (status >= 400 && status < 500 && ![404, 408, 425, 429].includes(status)) this.state = "refused";
    else if (!this.#urgent) this.state = this.#running ? this.state : "idle";
    else {
      const wait = AGAIN_AFTER[Math.min(this.#failures, AGAIN_AFTER.length - 1)] * (1 + SPREAD * (2 * this.#random() - 1));
      this.#failures += 1;
      this.#again = now + Math.max(wait, Math.min(retry_after_ms, LONGEST_WAIT));
    }
  }
}
