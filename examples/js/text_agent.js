// A text agent in JavaScript: counts what the caller says; the stack hears, takes turns, speaks and is interrupted.
//   npm install && ANTIPHON_NATS_URL=nats://127.0.0.1:4222 npm run text
import { connect, createInbox, nkeyAuthenticator } from "nats";
import { readFileSync } from "node:fs";
const [NAME, INBOX] = ["desk-js", "_INBOX_agent.desk-js"];
const { ANTIPHON_NATS_URL: servers = "nats://127.0.0.1:4222", ANTIPHON_NATS_CREDENTIALS: file } = process.env;
const authenticator = file && nkeyAuthenticator(new TextEncoder().encode(readFileSync(file, "ascii").trim()));
const bus = await connect({ servers, authenticator, inboxPrefix: INBOX, maxReconnectAttempts: -1 });
const answers = new Set(); // those under way, by the subject where NATS says that nobody listens to one any more

async function* reply(turn) {
  const count = (turn.state?.count ?? 0) + 1;
  yield { type: "state", state: { count } }; // comes back with the next turn, at whichever instance
  yield { type: "text", text: `That was number ${count}. You have said: ${turn.text}` };
  if (/goodbye/i.test(turn.text)) yield { type: "hang_up" };
}

async function answer(request) {
  if (!request.reply) return; // a call has ended
  const mine = createInbox(`${INBOX}.parts`);
  const send = (part) => bus.publish(request.reply, JSON.stringify({ version: 1, ...part }), { reply: mine });
  const alive = setInterval(send, 500, { type: "alive" });
  let number = 0;
  answers.add(mine);
  try {
    for await (const part of reply(request.json())) if (answers.has(mine)) send({ ...part, number: number++ });
    send({ type: "end", number });
  } catch (error) {
    send({ type: "error", message: String(error).slice(0, 500) });
  } finally {
    clearInterval(alive);
    answers.delete(mine);
  }
}

bus.subscribe(`${INBOX}.parts.*`, { callback: (_error, message) => answers.delete(message.subject) });
bus.subscribe(`antiphon.v1.agent.${NAME}.reply`, { queue: NAME, callback: (_error, message) => answer(message) });
const here = { version: 1, agent: NAME, instance: `js-${process.pid}`, greeting: "Hello. Say something." };
const announce = () => bus.publish(`antiphon.v1.agent.${NAME}.announce`, JSON.stringify({ ...here, answering: answers.size }));
setInterval(announce, 1000, announce());
