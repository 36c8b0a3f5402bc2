// The caller's microphone for as long as a call lasts: asked for, watched, and had again when it is lost. No DOM.
//
// Lost is a track that ended (a headset pulled out, a phone call on a telephone), a device that is no longer listed, and a
// track that stays muted (the system or a switch took its sound). Then the browser is asked for a microphone anew: at once,
// whenever the devices change, and when the page is looked at again. One question at a time; none that would show a dialog
// again to a caller who refused.
//
// Told by events: "track" (this.stream has another track now), "state" (this.state, this.problem or this.label changed).

import { MicrophoneError } from "./request.js";

const WANTED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const LOOK_EVERY = 1000; // ms: a track that the page's own code stopped tells nobody
const MUTED_FOR = 1000; // ms; a shorter mute is not told
const ANEW_EVERY = 3000; // ms, while the track is muted or another program holds the device
const SETTLED_AFTER = 300; // ms without a change of the devices: one plug changes them several times

const LOST = {
  missing: "The microphone is gone: the agent hears nothing. Connect one or switch it on, and the call takes it. Until then you can type.",
  held: "The microphone is gone: the agent hears nothing. Another program may hold it: close that, and the call takes it again. Until then you can type.",
  refused: "The microphone is gone: the agent hears nothing. Allow it for this page (the icon beside the address), and the call takes it again. Until then you can type.",
};
const MUTED = "The microphone is muted, by the system or by a switch of its own: the agent hears nothing. Switch it on, or type.";

export class Microphone extends EventTarget {
  state = "asking"; // then working, muted, lost, closed
  problem = ""; // in words, while it is muted or lost
  label = ""; // of the device
  stream = null; // with one audio track
  #devices;
  #track = null;
  #group = null; // of the device behind the system's choice
  #asking = false;
  #askAgain = false; // something has changed since the question under way
  #refused = false; // ask no more until the caller allows it
  #held = false; // another program has the device: no event says when it gives it back
  #ended = false; // the track's own word
  #mutedAt = null;
  #askedAt = 0;
  #timers = [];
  #settling = null;
  #listeners = [];

  constructor(devices = navigator.mediaDevices) {
    super();
    this.#devices = devices;
  }

  /** Ask for the microphone; MicrophoneError when there is none to be had. */
  async open() {
    if (!this.#devices?.getUserMedia) {
      throw new MicrophoneError("insecure", `Browsers give the microphone only to pages from https or from localhost, and this one comes from ${location.origin}. Open it as http://localhost:${location.port || 80}/ on the server itself, or put https in front.`);
    }
    let stream;
    try {
      stream = await this.#devices.getUserMedia({ audio: WANTED });
    } catch (error) {
      throw inWords(error);
    }
    if (this.state === "closed") return stop(stream);
    await this.#take(stream);
    this.#on(this.#devices, "devicechange", () => this.#devicesChanged());
    this.#on(document, "visibilitychange", () => document.visibilityState === "visible" && this.#look(true));
    this.#timers.push(setInterval(() => this.#look(false), LOOK_EVERY));
    this.#watchPermission();
  }

  /** Give the device back; nothing is told or asked for after that. */
  close() {
    this.state = "closed";
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#settling);
    for (const [target, type, listener] of this.#listeners) target.removeEventListener(type, listener);
    if (this.stream) stop(this.stream);
  }

  async #take(stream) {
    const before = this.stream;
    const track = (this.#track = stream.getAudioTracks()[0]);
    this.stream = stream;
    this.label = track.label ?? "";
    this.#ended = false;
    this.#refused = false;
    this.#mutedAt = track.muted ? performance.now() : null;
    const mine = (action) => () => this.#track === track && this.state !== "closed" && action();
    track.addEventListener("ended", mine(() => { this.#ended = true; this.#look(true); }));
    track.addEventListener("mute", mine(() => { this.#mutedAt ??= performance.now(); }));
    track.addEventListener("unmute", mine(() => { this.#mutedAt = null; this.#look(false); }));
    if (before) {
      stop(before);
      this.#say("track");
    }
    if (!track.muted) this.#become("working", "");
    this.#group = await this.#chosenGroup();
  }

  /** What the track is like now, and what follows. `changed`: there is reason to ask again at once. */
  #look(changed) {
    if (this.state === "closed" || !this.#track) return;
    const now = performance.now();
    if (this.#ended || this.#track.readyState === "ended") {
      if (this.state !== "lost") {
        this.#become("lost", LOST.missing);
        changed = true;
      }
    } else if (this.#mutedAt === null) {
      this.#become("working", "");
      return;
    } else if (now - this.#mutedAt < MUTED_FOR) {
      return;
    } else {
      this.#become("muted", MUTED);
    }
    const due = (this.state === "muted" || this.#held) && now - this.#askedAt >= ANEW_EVERY;
    if (changed || due) this.#again();
  }

  /** Ask for a microphone in place of the one that is gone. */
  async #again() {
    if (this.#asking) {
      this.#askAgain = true;
      return;
    }
    if (this.#refused || document.visibilityState === "hidden") return;
    this.#asking = true;
    this.#askedAt = performance.now();
    const wasMuted = this.state === "muted";
    try {
      const stream = await this.#devices.getUserMedia({ audio: WANTED });
      const muted = stream.getAudioTracks()[0].muted;
      if (this.state === "closed" || (wasMuted && muted) || (wasMuted && this.#mutedAt === null)) stop(stream);
      else await this.#take(stream);
      this.#held = false;
    } catch (error) {
      const problem = inWords(error);
      this.#held = problem.kind === "held";
      this.#refused = problem.kind === "refused";
      if (this.state === "lost") this.#become("lost", LOST[problem.kind] ?? LOST.missing);
    } finally {
      this.#asking = false;
    }
    if (this.#askAgain) {
      this.#askAgain = false;
      this.#look(true);
    }
  }

  #devicesChanged() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(async () => {
      if (this.state === "lost" || this.state === "muted") this.#look(true);
      else await this.#followTheSystem();
    }, SETTLED_AFTER);
  }

  /** A device that vanished without a word; and the system's choice, where the track stands for that. */
  async #followTheSystem() {
    const track = this.#track;
    const id = track.getSettings?.().deviceId;
    const inputs = await this.#inputs();
    if (this.state !== "working" || this.#track !== track || !inputs.some(({ deviceId }) => deviceId)) return;
    const gone = id && !inputs.some(({ deviceId }) => deviceId === id);
    const group = id === "default" ? (inputs.find(({ deviceId }) => deviceId === id)?.groupId ?? null) : null;
    const moved = group !== null && this.#group !== null && group !== this.#group;
    if (gone) this.#ended = true;
    if (gone) this.#look(true);
    else if (moved) this.#again();
  }

  async #chosenGroup() {
    return (await this.#inputs()).find(({ deviceId }) => deviceId === "default")?.groupId ?? null;
  }

  async #inputs() {
    const all = (await this.#devices.enumerateDevices?.().catch(() => [])) ?? [];
    return all.filter(({ kind }) => kind === "audioinput");
  }

  async #watchPermission() {
    const permission = await navigator.permissions?.query({ name: "microphone" }).catch(() => null); // not in all browsers
    if (!permission || this.state === "closed") return;
    this.#on(permission, "change", () => {
      this.#refused = permission.state === "denied";
      this.#look(permission.state === "granted");
    });
  }

  #on(target, type, listener) {
    target.addEventListener?.(type, listener);
    this.#listeners.push([target, type, listener]);
  }

  #become(state, problem) {
    if (this.state === "closed" || (this.state === state && this.problem === problem)) return;
    this.state = state;
    this.problem = problem;
    this.#say("state");
  }

  #say(type) {
    this.dispatchEvent(new CustomEvent(type));
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

function inWords(error) {
  const texts = {
    NotAllowedError: ["refused", "The microphone was refused. Allow it for this page (the icon beside the address), then start again."],
    NotFoundError: ["missing", "No microphone was found. Plug one in or switch it on, then start again."],
    NotReadableError: ["held", "The microphone can't be used: another program may hold it. Close that, then start again."],
  };
  const [kind, text] = texts[error.name] ?? ["microphone", `The microphone can't be used (${error.name}).`];
  return new MicrophoneError(kind, text, error);
}
