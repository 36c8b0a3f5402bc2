// A conversation over WebSocket by @openai/agents: `node websocket_agents.mjs URL SPEECH.pcm`, beside the package.
// SPEECH.pcm: a question, s16le at 24 kHz. Exit status 0 if the agent has answered and was interrupted.
import { readFileSync } from 'node:fs';
import { RealtimeAgent, RealtimeSession } from '@openai/agents/realtime';

const [, , url, file] = process.argv;
const speech = readFileSync(file);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant', instructions: 'Be brief.' }), {
  transport: 'websocket',
});

async function speak(pcm) {
  for (let first = 0; first < pcm.length; first += 4800) {
    const piece = pcm.subarray(first, first + 4800); // 100 ms, in real time
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
    await pause(100);
  }
}

let audio = 0;
let interrupted = 0;
const seen = new Set();
session.on('audio', (event) => (audio += event.data.byteLength));
session.on('audio_interrupted', () => (interrupted += 1));
session.on('error', (event) => console.log('  error:', JSON.stringify(event.error).slice(0, 300)));
session.on('transport_event', (event) => seen.add(event.type));
await session.connect({ apiKey: 'unused', url: `${url.replace('http', 'ws')}/v1/realtime?model=concierge` });
console.log('connected');
await speak(Buffer.concat([Buffer.alloc(9600), speech, Buffer.alloc(96000)]));
for (let waited = 0; !audio && waited < 150; waited += 1) await pause(100);
await pause(300);
console.log(`answered, ${(audio / 48000).toFixed(1)} s so far`);
await speak(Buffer.concat([speech, Buffer.alloc(96000)]));
for (let waited = 0; waited < 80 && !interrupted; waited += 1) await pause(100);
await pause(4000);
session.interrupt();
await pause(500);
for (const item of session.history) {
  if (item.type === 'message') console.log(item.role, item.status, item.content.map((each) => each.transcript ?? each.text));
}
console.log('events:', [...seen].join(' '));
session.close();
if (!audio || !interrupted) process.exit(1);
console.log('ok');
process.exit(0);
