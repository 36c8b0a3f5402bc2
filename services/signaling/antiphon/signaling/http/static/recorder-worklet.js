// Copies what comes in on two inputs (left: microphone, right: agent) to the page, on one clock.

registerProcessor("two-sides", class extends AudioWorkletProcessor {
  process([left, right]) {
    const silence = new Float32Array(128);
    this.port.postMessage([left[0]?.slice() ?? silence, right[0]?.slice() ?? silence]);
    return true;
  }
});
