// Records both sides of a call, sample by sample on one clock, for measurements. Off unless started.

const LONGEST = 10 * 60; // seconds; what comes after is not kept

export class Recorder {
  #context = null;
  #node = null;
  #chunks = [];
  #streams = {};

  /** Tell it of a stream ("microphone" or "agent"); recorded if a recording runs, and by later ones. */
  listen(side, stream) {
    this.#streams[side] = stream;
    this.#connect(side);
  }

  /** Begin; returns the time (ms, performance.now) that the first sample belongs to. */
  async start() {
    await this.stop();
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule("/static/recorder-worklet.js");
    this.#node = new AudioWorkletNode(this.#context, "two-sides", { numberOfInputs: 2, numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
    const most = LONGEST * this.#context.sampleRate / 128;
    const begun = new Promise((resolve) => {
      this.#node.port.onmessage = ({ data }) => {
        if (!this.#chunks.length) resolve(performance.now());
        if (this.#chunks.length < most) this.#chunks.push(data);
      };
    });
    this.#node.connect(this.#context.destination); // its output stays silent, but unconnected nodes do not run
    for (const side of Object.keys(this.#streams)) this.#connect(side);
    await this.#context.resume();
    return begun;
  }

  /** End; returns a WAV file as base64 (16-bit stereo, left: microphone, right: agent), or null if none ran. */
  async stop() {
    if (!this.#context) return null;
    const [context, chunks] = [this.#context, this.#chunks];
    [this.#context, this.#node, this.#chunks] = [null, null, []];
    await context.close();
    return base64(wav(chunks, context.sampleRate));
  }

  #connect(side) {
    if (!this.#node || !this.#streams[side]) return;
    this.#context.createMediaStreamSource(this.#streams[side]).connect(this.#node, 0, side === "microphone" ? 0 : 1);
  }
}

function wav(chunks, rate) {
  const frames = chunks.length * 128;
  const view = new DataView(new ArrayBuffer(44 + frames * 4));
  const text = (at, value) => [...value].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + frames * 4, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 2, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 4, true); view.setUint16(32, 4, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, frames * 4, true);
  let at = 44;
  for (const [left, right] of chunks) {
    for (let n = 0; n < 128; n++, at += 4) {
      view.setInt16(at, Math.max(-1, Math.min(1, left[n])) * 32767, true);
      view.setInt16(at + 2, Math.max(-1, Math.min(1, right[n])) * 32767, true);
    }
  }
  return new Uint8Array(view.buffer);
}

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
