// Data channel and audio of werift (WebRTC in TypeScript) at a running stack: `node werift.mjs URL AGENT`.
// Prints one line of JSON: what came back of messages of several sizes, and how much audio of the greeting arrived.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_MODULES_AT + "/");
const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket } = require("werift");

const [url, echoAgent] = process.argv.slice(2);
const opus = new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48000, channels: 2 });
const within = (seconds, promise, name) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error(name)), seconds * 1000))]);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Place a call; a microphone sends Opus frames of silence from then on. */
async function call(agent) {
  const peer = new RTCPeerConnection({ codecs: { audio: [opus] }, iceServers: [] });
  const microphone = new MediaStreamTrack({ kind: "audio" });
  const transceiver = peer.addTransceiver(microphone, { direction: "sendrecv" });
  const received = { packets: 0, bytes: 0 };
  transceiver.onTrack.subscribe((track) =>
    track.onReceiveRtp.subscribe((packet) => {
      received.packets += 1;
      received.bytes += packet.payload.length;
    }),
  );
  const channel = peer.createDataChannel("oai-events");
  const messages = [];
  const waiting = [];
  channel.onMessage.subscribe((data) => (waiting.length ? waiting.shift()(data) : messages.push(data)));
  const open = new Promise((done) => channel.stateChanged.subscribe((state) => state === "open" && done()));
  await peer.setLocalDescription(await peer.createOffer());
  const reply = await fetch(`${url}/v1/realtime/calls?agent=${agent}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: peer.localDescription.sdp,
  });
  const answer = await reply.text();
  if (reply.status !== 201) throw new Error(`HTTP ${reply.status}: ${answer}`);
  const began = Date.now();
  await peer.setRemoteDescription({ type: "answer", sdp: answer });
  await within(15, open, "the channel did not open");
  const openedMs = Date.now() - began;
  let number = 0;
  const speaking = setInterval(() => {
    number += 1;
    const header = new RtpHeader({
      payloadType: transceiver.codecs[0].payloadType,
      sequenceNumber: number & 0xffff,
      timestamp: number * 960,
      ssrc: 4711,
      marker: number === 1,
    });
    microphone.writeRtp(new RtpPacket(header, Buffer.from([0xf8, 0xff, 0xfe]))); // 20 ms of silence
  }, 20);
  const next = () => (messages.length ? Promise.resolve(messages.shift()) : new Promise((done) => waiting.push(done)));
  const end = async () => {
    clearInterval(speaking);
    await peer.close();
    await fetch(new URL(reply.headers.get("location"), url) + "/hangup", { method: "POST" });
  };
  return { channel, end, messages, next, openedMs, received };
}

try {
  const echo = await call(echoAgent);
  const echoed = [];
  for (const size of [1, 1100, 16384, 65000]) {
    echo.channel.send("x".repeat(size));
    const back = await within(15, echo.next(), `a message of ${size} bytes did not come back`);
    echoed.push(back.length);
  }
  await echo.end();
  const spoken = await call("concierge");
  const first = JSON.parse(await within(15, spoken.next(), "no event came"));
  for (let waited = 0; spoken.received.packets < 50 && waited < 100; waited += 1) await pause(100);
  await spoken.end();
  if (spoken.received.packets < 50) throw new Error(`${spoken.received.packets} packets of the greeting arrived`);
  console.log(
    JSON.stringify({ openedMs: echo.openedMs, echoed, first: first.type, received: spoken.received, problem: null }),
  );
} catch (error) {
  console.log(JSON.stringify({ problem: String(error) }));
  process.exitCode = 1;
}
process.exit(process.exitCode ?? 0); // its sockets would keep the process
