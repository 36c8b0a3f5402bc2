// What a module of a page needs of a browser, in node and in virtual time: timers and clocks that jump, window and document as event
// targets. Reads one JSON line {script, argument} after the other, the text of a function, and writes what it resolves to.

import { createInterface } from "node:readline";

const turn = globalThis.setImmediate;
let now = 1000;
let number = 0;
const timers = new Map(); // id: {at, action, every}
const later = (every) => (action, ms = 0, ...rest) => {
  timers.set(++number, { at: now + Math.max(1, ms), action: () => action(...rest), every: every ? Math.max(1, ms) : 0 });
  return number;
};
globalThis.setTimeout = later(false);
globalThis.setInterval = later(true);
globalThis.clearTimeout = globalThis.clearInterval = (id) => timers.delete(id);
performance.now = () => now;
Date.now = () => 1700000000000 + now;

/** Let so many ms pass: each timer runs at its time, and what it waits for is done before the next. */
globalThis.advance = async (ms) => {
  const end = now + ms;
  for (;;) {
    await settle();
    const next = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
    if (!next) break;
    const [id, timer] = next;
    now = Math.max(now, timer.at);
    if (timer.every) timer.at += timer.every;
    else timers.delete(id);
    timer.action();
  }
  now = end;
  await settle();
};

/** Nothing that was to come comes any more. */
globalThis.forget = () => { timers.clear(); };

/** The clocks leap, and nothing ran meanwhile: a laptop that slept. */
globalThis.sleep = (ms) => { now += ms; };

const settle = async () => {
  for (let n = 0; n < 3; n += 1) await new Promise((resolve) => turn(resolve));
};

/** A function, an expression, or statements. */
function read(script) {
  try {
    return (0, eval)(`(${script}\n)`);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return (0, eval)(script);
  }
}

globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail = null } = {}) {
    super(type);
    this.detail = detail;
  }
};
const bus = new EventTarget();
for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"]) globalThis[name] = bus[name].bind(bus);
globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
process.on("unhandledRejection", (error) => {
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.exitCode = 1;
});

for await (const line of createInterface({ input: process.stdin })) {
  const { script, argument } = JSON.parse(line);
  let answer;
  try {
    const made = read(script);
    answer = { value: (await (typeof made === "function" ? made(argument) : made)) ?? null };
  } catch (error) {
    answer = { error: `${error?.stack ?? error}` };
  }
  await settle();
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
