// ICE restarts at the server (RFC 8445 section 9): an offer with new credentials goes to the call's Location, and its answer is
// applied. One at a time, whatever asks for it. A RestartPlan says when; this makes the requests.

import { RestartPlan } from "./restart_plan.js";

/**
 * One call's, owned by its KeptPath. Nothing is changed on the peer connection before an answer is there, so a call whose server
 * can't be reached keeps the path that it has.
 */
export class IceRestart {
  #peer;
  #reoffer;
  #ended;
  #told;
  #plan = new RestartPlan();
  #why = null;
  #prepare = null;
  #otherwise = null;
  #offer = null; // Promise: of the restart under way. Its requests post the same, which the server answers with the same credentials
  #closed = false;

  /**
   * `reoffer(sdp)`: resolves to {answer, regions}. `ended()`: resolves to the server's status of the call if that says it is over, else
   * null. `told(state, detail)`: "asked", "done", "failed", "refused", "gone".
   */
  constructor(peer, { reoffer, ended, told }) {
    this.#peer = peer;
    this.#reoffer = reoffer;
    this.#ended = ended;
    this.#told = told;
  }

  /** One is wanted, or under way. */
  get busy() {
    return this.#plan.busy;
  }

  /** The server takes restarts of this call, as far as is known. */
  get possible() {
    return !["refused", "gone"].includes(this.#plan.state);
  }

  /**
   * Restart; false where that is not possible, or one is under way already. A dead path is stronger: `urgent` takes the place
   * of what a restart under way was for. `prepare({answer, regions})`: the answer to apply, and what to do once it is.
   * `otherwise`: done where a restart that is not urgent fails.
   */
  want(now, why, prepare, { urgent, otherwise = null }) {
    const busy = this.#plan.busy;
    if (busy && !urgent) return false;
    if (!this.#plan.want(now, urgent)) return false;
    this.#prepare = prepare;
    this.#otherwise = otherwise;
    this.#why = why;
    if (!busy) this.#offer = null;
    return true;
  }

  /** The path works: what has failed is not asked again. */
  spare() {
    this.#plan.spare();
  }

  /** The browser says that the device's network has changed. */
  networkChanged(now) {
    this.#plan.networkChanged(now);
  }

  /** Make a request if one is due. `quiet_ms()`: as `RestartPlan.failed` takes it. */
  tick(now, quiet_ms) {
    if (!this.#closed && this.#plan.due(now)) this.#ask(now, quiet_ms);
  }

  close() {
    this.#closed = true;
  }

  async #ask(now, quiet_ms) {
    this.#plan.started(now);
    const mine = (this.#offer ??= this.#peer.createOffer({ iceRestart: true }));
    const superseded = () => this.#closed || this.#offer !== mine;
    this.#told("asked", { why: this.#why });
    let applying = false;
    try {
      const { sdp } = await mine;
      const answered = await this.#reoffer(sdp);
      if (superseded()) return this.#plan.left();
      applying = true;
      this.#offer = null; // whatever comes of it: a further answer to this offer is too late, and a further try needs a new one
      await this.#apply(await mine, answered);
      this.#plan.answered();
      this.#told("done", { why: this.#why });
    } catch (error) {
      if (this.#closed || (!applying && superseded())) return this.#plan.left();
      await this.#failed(error, quiet_ms);
    }
  }

  async #apply(offer, answered) {
    const peer = this.#peer;
    if (peer.signalingState !== "stable") throw new Error(`an ICE restart has to wait: signalingState is ${peer.signalingState}`);
    const { sdp, applied } = this.#prepare(answered);
    await peer.setLocalDescription(offer);
    try {
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      await peer.setLocalDescription({ type: "rollback" }).catch(() => {});
      throw error;
    }
    applied();
  }

  async #failed(error, quiet_ms) {
    const { status = 0, retryAfter = null } = error;
    // "No such call" is also said while another transceiver takes the call over: the server's own word on its end decides.
    const end = status === 404 ? await this.#ended().catch(() => null) : null;
    if (this.#closed) return;
    this.#plan.failed(performance.now(), { status, ended: end !== null, retry_after_ms: 1000 * Number(retryAfter) || 0, quiet_ms: quiet_ms() });
    const { state } = this.#plan;
    if (state !== "wanted") {
      this.#offer = null;
      this.#otherwise?.();
    }
    this.#told(state === "gone" || state === "refused" ? state : "failed", { why: this.#why, error, status: end });
  }
}
