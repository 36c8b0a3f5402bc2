// How loud both sides are, and how long the answer took. The clock is fed with levels and times, so it can be
// read (and tested) without audio; Levels is the part that listens.

const VOICE = 0.012; // RMS of full scale, about -38 dBFS: speech at a usual microphone gain is above
const SOUND = 0.003; // of the agent's side, where silence is digital
const SHORTEST_VOICE = 120; // ms; less is a click or a cough
const QUIET_BEFORE = 400; // ms of silence after which the agent's next sound is a new answer
const LONGEST_WAIT = 15000; // ms; beyond, the sound answers something else

export class AnswerClock {
  #floor = 0.002; // of the microphone: follows its noise, fast down and slow up
  #voiced = 0;
  #lastVoice = null;
  #lastSound = -Infinity;
  #before = null;

  /** One look at both levels (RMS, 0 to 1) at `now` (ms); the answer's time in ms when one begins, else null. */
  feed(now, microphone, agent) {
    const step = this.#before === null ? 0 : Math.min(now - this.#before, 100);
    this.#before = now;
    this.#floor = microphone < this.#floor ? microphone * 0.3 + this.#floor * 0.7 : Math.min(this.#floor * 1.002 + 1e-6, VOICE);
    if (microphone > Math.max(VOICE, this.#floor * 4)) {
      this.#voiced += step;
      if (this.#voiced >= SHORTEST_VOICE) this.#lastVoice = now;
    }
    if (agent <= SOUND) return null;
    const begins = now - this.#lastSound > QUIET_BEFORE;
    this.#lastSound = now;
    if (!begins || this.#lastVoice === null) return null;
    const took = now - this.#lastVoice;
    this.#lastVoice = null;
    this.#voiced = 0;
    return took < LONGEST_WAIT ? took : null;
  }

  /** Something was typed: the next answer is to that. */
  typed(now) {
    this.#lastVoice = now;
  }
}

export class Levels {
  #context = new AudioContext();
  #taps = {};
  #samples = new Float32Array(1024); // 21 ms at 48 kHz: one look sees all since the last

  /** Listen to a stream as `side`: "microphone" or "agent". */
  listen(side, stream) {
    const tap = this.#context.createAnalyser();
    tap.fftSize = this.#samples.length;
    this.#context.createMediaStreamSource(stream).connect(tap);
    this.#taps[side] = tap;
    this.#context.resume().catch(() => {});
  }

  /** RMS, 0 to 1, of the newest samples of a side. */
  of(side) {
    const tap = this.#taps[side];
    if (!tap) return 0;
    tap.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.sqrt(sum / this.#samples.length);
  }

  /** A track of silence, for a call without a microphone. */
  silence() {
    return this.#context.createMediaStreamDestination().stream;
  }

  close() {
    this.#context.close().catch(() => {});
  }
}
