// One prepared call at hand: its offer is answered before the caller presses the button, and again before the answer is too old.
// No DOM but the visibility of the page and the element that it is given.
//
// What is prepared has no microphone and is no call at the server: it begins when the answer is used.

import { AntiphonError } from "./request.js";

const REFRESH_BEFORE = 15000; // ms before its end a prepared call is replaced
const REFRESHES = 10; // without a sign of the caller: some 7 minutes
const AGAIN_AFTER = 5000; // ms after a failure that may pass
const SIGNS = ["pointerenter", "focus", "touchstart"]; // of a caller who is about to press the button

/** Owner: the page, or a VoiceCall. It prepares from `start` on, or from the first sign at the element of `startAt`, until `take` or `close`. */
export class PreparedCall {
  #make;
  #ready = null; // AntiphonCall
  #making = null; // promise of the next one
  #left = 0; // refreshes
  #timer = null;
  #closed = false;
  #listeners = [];

  /** `make`: resolves to an AntiphonCall whose `prepare` is done, and rejects where the server refuses. */
  constructor(make) {
    this.#make = make;
    this.#on(globalThis.document, "visibilitychange", () => this.#left > 0 && this.#refreshIfDue());
  }

  /** There is a prepared call that can be used. */
  get ready() {
    return this.#ready?.prepared ?? false;
  }

  /** Prepare now, and again in time. Failures are silent: an ordinary call is placed then. */
  start() {
    if (this.#closed) return;
    this.#left = REFRESHES;
    this.#refreshIfDue();
  }

  /** Prepare when the pointer comes to this element, or it is focused or touched. */
  startAt(element) {
    for (const type of SIGNS) this.#on(element, type, () => this.start(), { passive: true });
  }

  /** The prepared AntiphonCall, which is the caller's from now on, or null; nothing more is prepared. One that is asked for is waited for. */
  async take() {
    this.#stop();
    if (!this.#ready?.prepared) await this.#making;
    const ready = this.#ready?.prepared ? this.#ready : null;
    if (ready) this.#ready = null;
    this.close();
    return ready;
  }

  /** Drop what is prepared. */
  close() {
    this.#stop();
    this.#closed = true;
    this.#ready?.hangUp();
    this.#ready = null;
  }

  #stop() {
    this.#left = 0;
    clearTimeout(this.#timer);
    for (const [target, type, listener] of this.#listeners) target.removeEventListener(type, listener);
    this.#listeners = [];
  }

  #refreshIfDue() {
    const due = !this.#ready?.prepared || this.#ready.preparedFor <= REFRESH_BEFORE;
    if (due && !this.#making && !this.#closed && globalThis.document?.visibilityState !== "hidden") this.#making = this.#refresh();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    this.#left -= 1;
    let again = AGAIN_AFTER;
    try {
      const next = await this.#make();
      (this.#closed ? next : this.#ready)?.hangUp();
      if (!this.#closed) this.#ready = next;
      again = next.preparedFor - REFRESH_BEFORE;
    } catch (error) {
      // Not known there (an older server), not allowed, too often: only a further sign of the caller is a reason to ask again.
      if (error instanceof AntiphonError && error.status >= 400 && error.status < 500) this.#left = 0;
    }
    this.#making = null;
    if (this.#left > 0) this.#timer = setTimeout(() => this.#refreshIfDue(), Math.max(1000, again));
  }

  #on(target, type, listener, options) {
    target?.addEventListener(type, listener, options);
    if (target) this.#listeners.push([target, type, listener]);
  }
}

/** Whether the browser gives the page the microphone without a question: then a prepared call connects while it is being opened. */
export async function microphoneIsGranted() {
  const permission = await globalThis.navigator?.permissions?.query({ name: "microphone" }).catch(() => null); // not in all browsers
  return permission?.state === "granted";
}
