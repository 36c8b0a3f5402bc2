// Data channels of libdatachannel (usrsctp) at a running stack: `node libdatachannel.mjs URL AGENT`.
// Prints one line of JSON: what came back of messages of several sizes, and of channels closed and opened again.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_MODULES_AT + "/");
const rtc = require("node-datachannel");

const [url, agent] = process.argv.slice(2);
const peer = new rtc.PeerConnection("client", { iceServers: [], maxMessageSize: 262144 });
const audio = new rtc.Audio("0", "SendRecv");
audio.addOpusCodec(111);
audio.addSSRC(4711, "client", "stream", "audio");
peer.addTrack(audio);

const gathered = new Promise((done) => peer.onGatheringStateChange((state) => state === "complete" && done()));
const next = (channel) => new Promise((done) => channel.onMessage(done));
const opened = (channel) => new Promise((done) => channel.onOpen(done));
const within = (seconds, promise, name) =>
  Promise.race([promise, new Promise((_, fail) => setTimeout(() => fail(new Error(name)), seconds * 1000))]);

try {
  const channel = peer.createDataChannel("oai-events");
  const open = opened(channel);
  peer.setLocalDescription();
  await within(5, gathered, "gathering");
  const offer = peer.localDescription().sdp;
  const reply = await fetch(`${url}/v1/realtime/calls?agent=${agent}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: offer,
  });
  const answer = await reply.text();
  if (reply.status !== 201) throw new Error(`HTTP ${reply.status}: ${answer}`);
  peer.setRemoteDescription(answer, "answer");
  const began = Date.now();
  await within(15, open, "the channel did not open");
  const openedMs = Date.now() - began;
  const echoed = [];
  for (const size of [1, 1100, 16384, 65000, 200000]) {
    const back = next(channel);
    channel.sendMessage("x".repeat(size));
    echoed.push((await within(15, back, `a message of ${size} bytes did not come back`)).length);
  }
  for (let number = 0; number < 20; number++) {
    const other = peer.createDataChannel(`channel ${number}`, number % 2 ? { unordered: true, maxRetransmits: 3 } : {});
    await within(5, opened(other), `channel ${number} did not open`);
    const back = next(other);
    other.sendMessageBinary(Buffer.from([number, 1, 2]));
    const got = await within(5, back, `channel ${number} said nothing back`);
    if (got[0] !== number) throw new Error("another message came back");
    other.close();
    await new Promise((done) => setTimeout(done, 300));
  }
  const back = next(channel);
  channel.sendMessage("still here");
  const last = await within(5, back, "the first channel is dead");
  console.log(JSON.stringify({ library: rtc.getLibraryVersion?.(), openedMs, echoed, last, problem: null }));
} catch (error) {
  console.log(JSON.stringify({ problem: String(error) }));
  process.exitCode = 1;
}
peer.close();
process.exit(process.exitCode ?? 0);  // threads of the library would go on
