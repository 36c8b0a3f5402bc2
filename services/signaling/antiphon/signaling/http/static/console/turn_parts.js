// The parts of a turn in their order, and who answers for each: messages.TurnParts.

export const OWNERS = { network: "network", service: "service", setting: "setting", agent: "agent", client: "client" };

export const PARTS = [
  ["uplink", "Way up", OWNERS.network],
  ["receive", "Relay, jitter buffer, to the agent", OWNERS.service],
  ["end_of_turn", "Silence that ends the turn", OWNERS.setting],
  ["stt", "Speech to text", OWNERS.service],
  ["agent", "Agent", OWNERS.agent],
  ["tts", "Text to speech", OWNERS.service],
  ["publish", "To the transceiver", OWNERS.service],
  ["playout", "Playout queue", OWNERS.service],
  ["send", "Encode and send", OWNERS.service],
  ["relay", "Relay", OWNERS.service],
  ["downlink", "Way down", OWNERS.network],
  ["client", "Client's jitter buffer", OWNERS.client],
].map(([name, title, owner]) => ({ name, title, owner }));

/** The measured parts with where each begins: [{ name, title, owner, ms, from }], and the sum. */
export function measured(parts) {
  let total = 0;
  const list = [];
  for (const part of PARTS) {
    const ms = parts?.[part.name];
    if (!Number.isFinite(ms) || ms < 0) continue;
    list.push({ ...part, ms, from: total });
    total += ms;
  }
  return { list, total };
}
