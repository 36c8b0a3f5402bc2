// An agent in JavaScript: says back what it hears, and stops when a key is pressed.
//   npm install && ANTIPHON_NATS_URL=nats://127.0.0.1:4222 npm start
import { decode, encode } from "@msgpack/msgpack";
import { connect, nkeyAuthenticator } from "nats";
import { readFileSync } from "node:fs";

const [PREFIX, NAME] = ["antiphon.v1", "echo-js"];
const INSTANCE = `js-${process.pid}`;
const END_OF_UTTERANCE = 4;
const { ANTIPHON_NATS_URL: servers = "nats://127.0.0.1:4222", ANTIPHON_NATS_CREDENTIALS: file } = process.env;
const authenticator = file && nkeyAuthenticator(new TextEncoder().encode(readFileSync(file, "ascii").trim()));
const bus = await connect({ servers, authenticator, inboxPrefix: `_INBOX_agent.${NAME}`, maxReconnectAttempts: -1 });

async function take(request) {
  const claim = request.json();
  if (claim.version !== 2) // the session of another version has other subjects
    return request.respond(JSON.stringify({ version: 1, accepted: false, message: "claims have version 2 here" }));
  const session = `${PREFIX}.session.${NAME}.${claim.session_id}`;
  let generation = 1;
  const subscriptions = [];
  async function control(message) {
    const answer = await bus.request(`${session}.control`, JSON.stringify({ version: 1, ...message }), { timeout: 1000 });
    console.log(message.type, answer.json().ok);
  }

  function onAudio(_error, message) {
    // useBigInt64: captured_ns does not fit into a double
    const frame = decode(message.data, { useBigInt64: true });
    const [version, sequence, firstSample, capturedNs, rate, flags, , pcm] = frame;
    const spoken = [version, sequence, firstSample, capturedNs, rate, Number(flags) & ~END_OF_UTTERANCE, generation, pcm];
    bus.publish(`${session}.audio.out`, encode(spoken, { useBigInt64: true }));
  }

  function onEvent(_error, message) {
    const event = message.json();
    if (event.type === "telephone_event") {
      generation += 1; // what is under way in the old generation will not be heard
      control({ type: "flush", generation }).catch((error) => console.error(`flush: ${error.message}`));
    } else if (event.type === "flushed") {
      console.log(`heard ${(event.played_samples / event.rate).toFixed(2)} s`);
    } else if (event.type === "ended" || event.type === "transferred") {
      for (const subscription of subscriptions) subscription.unsubscribe();
    }
  }

  subscriptions.push(bus.subscribe(`${session}.audio.in`, { callback: onAudio }));
  subscriptions.push(bus.subscribe(`${session}.event`, { callback: onEvent }));
  await bus.flush(); // subscribed before the call is accepted: nothing of it is missed
  request.respond(JSON.stringify({ version: 1, accepted: true, input_rate: 24000, instance: INSTANCE }));
}

const metadata = { agent: NAME, instance: INSTANCE };
const service = await bus.services.add({ name: "antiphon-agent", version: "0.1.0", metadata });
service.addEndpoint("claim", {
  subject: `${PREFIX}.agent.${NAME}.claim`,
  queue: NAME,
  handler: (_error, request) => take(request).catch((error) => console.error(`claim: ${error.message}`)),
});
console.log("ready");
await bus.closed();
