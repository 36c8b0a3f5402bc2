// The sound of a recording on the call's clock: both sides as waves, with turns and words above, and a cursor.

import { el } from "./dom.js";
import { offset } from "./format.js";
import { words as shown } from "./text.js";

const [WIDTH, SIDE, BAND] = [1200, 60, 26];
const PEAKS_PER_SECOND = 50;
const MAX_BANDS = 2000;

/** `recording`: of `recording_file.open`; `model`: of `timeline.read`. { element, close() }. */
export function player(recording, model) {
  const url = recording.audio ? URL.createObjectURL(recording.audio) : null;
  const sound = el("audio", { controls: true, src: url, preload: "metadata", "aria-label": "Both sides of the call: the caller on the left, the agent on the right" });
  const from = Number.isFinite(recording.head.audio_began) ? recording.head.audio_began - model.began : 0;
  const seconds = Math.max(1, recording.peaks.length / 2 / PEAKS_PER_SECOND);
  const canvas = el("canvas", { width: WIDTH, height: 2 * SIDE + BAND, class: "waves", role: "slider", tabindex: 0, "aria-label": "Place in the recording: the arrow keys move it", "aria-valuemin": 0, "aria-valuemax": Math.round(seconds), data: { focus: "waves" } });
  const now = el("p", { class: "now", role: "status" });
  const still = el("canvas", { width: WIDTH, height: 2 * SIDE + BAND });
  const draw = () => { waves(still, recording.peaks, model, from, seconds); cursor(); };
  const cursor = () => {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(still, 0, 0);
    context.fillStyle = colour("--stop");
    context.fillRect((WIDTH * sound.currentTime) / seconds - 1, 0, 2, canvas.height);
    canvas.setAttribute("aria-valuenow", Math.round(sound.currentTime));
    canvas.setAttribute("aria-valuetext", offset(from + sound.currentTime));
  };
  const say = () => {
    const at = model.began + from + sound.currentTime;
    const last = model.words.findLast((entry) => entry.at <= at + 0.05);
    now.textContent = last ? `${last.side === "agent" ? "agent" : "caller"}: ${shown(last.text, 300)}` : "";
  };
  const go = (to) => { sound.currentTime = Math.min(seconds, Math.max(0, to)); cursor(); };
  sound.ontimeupdate = () => { cursor(); say(); };
  canvas.onclick = (event) => go((seconds * event.offsetX) / canvas.clientWidth);
  canvas.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (step) go(sound.currentTime + step);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(seconds);
    else if (event.key === " ") sound.paused ? sound.play() : sound.pause();
    else return;
    event.preventDefault();
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  const element = el("section", { "aria-label": "Sound" }, el("h3", {}, "Sound"),
    url ? sound : el("p", { class: "nothing" }, "The file holds no sound."),
    el("p", { class: "hint" }, "Above the agent, below the caller; bars are the turns' waits, ticks the words."), canvas, now);
  requestAnimationFrame(draw);
  return {
    element,
    close() {
      scheme.removeEventListener("change", draw);
      sound.pause();
      if (url) URL.revokeObjectURL(url);
    },
  };
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function waves(canvas, peaks, model, from, seconds) {
  const context = canvas.getContext("2d");
  context.fillStyle = colour("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const frames = Math.floor(peaks.length / 2);
  for (const [side, top, name] of [[1, BAND, "--agent"], [0, BAND + SIDE, "--network"]]) {
    context.fillStyle = colour(name);
    for (let x = 0; x < WIDTH; x++) {
      let high = 0;
      for (let n = Math.floor((x * frames) / WIDTH); n < Math.max(((x + 1) * frames) / WIDTH, Math.floor((x * frames) / WIDTH) + 1) && n < frames; n++) high = Math.max(high, peaks[2 * n + side]);
      const half = Math.max(0.5, ((SIDE - 4) / 2) * Math.sqrt(high / 255));
      context.fillRect(x, top + SIDE / 2 - half, 1, 2 * half);
    }
  }
  const x = (at) => (WIDTH * (at - model.began - from)) / seconds;
  context.fillStyle = colour("--setting");
  for (const turn of model.turns.slice(0, MAX_BANDS)) {
    const wait = Object.values(turn.parts ?? {}).reduce((sum, each) => sum + (Number.isFinite(each) ? each : 0), 0) / 1000;
    context.fillRect(x(turn.began), 4, Math.max(2, (WIDTH * wait) / seconds), 10);
  }
  context.fillStyle = colour("--ink");
  for (const entry of model.words.slice(0, MAX_BANDS)) context.fillRect(x(entry.at), 16, 1.5, 8);
}
