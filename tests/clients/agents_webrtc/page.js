// @openai/agents over WebRTC, as an application's page uses it. `run.py` bundles it and drives it from outside.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from "@openai/agents/realtime";

const seen = { state: "", events: [], interrupted: 0, problems: [], history: [] };
window.seen = seen;

/** Connect to `url` with a client secret that the application's server has made. */
window.begin = async (url, secret) => {
  const audioElement = document.createElement("audio");
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${url}/v1/realtime/calls`, audioElement });
  const agent = new RealtimeAgent({ name: "Assistant", instructions: "Be brief." });
  const session = new RealtimeSession(agent, { transport });
  session.on("error", (event) => seen.problems.push(JSON.stringify(event.error).slice(0, 300)));
  session.on("audio_interrupted", () => (seen.interrupted += 1));
  session.on("transport_event", (event) => seen.events.includes(event.type) || seen.events.push(event.type));
  session.on("history_updated", (history) => (seen.history = history.filter((item) => item.type === "message")));
  transport.on("connection_change", (state) => (seen.state = state));
  window.session = session;
  await session.connect({ apiKey: secret, model: "concierge" });
};

/** Words of one side, as the package has them in its history. */
window.words = (role) =>
  seen.history
    .filter((item) => item.role === role)
    .flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? ""))
    .join(" ");
