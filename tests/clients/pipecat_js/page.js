// Pipecat's own JavaScript client, as an application uses it. `run.py` bundles it and drives it from outside.

import { PipecatClient } from "@pipecat-ai/client-js";
import { SmallWebRTCTransport, WavMediaManager } from "@pipecat-ai/small-webrtc-transport";

const seen = { told: [], user: [], bot: [], tts: "", problems: [], state: "" };
window.seen = seen;

const note = (name) => (data) => seen.told.push(data === undefined ? name : `${name} ${JSON.stringify(data)}`.slice(0, 300));

// The package's own manager of devices; the other one loads code from elsewhere.
const transport = new SmallWebRTCTransport({ mediaManager: new WavMediaManager() });

const client = new PipecatClient({
  transport,
  enableMic: true,
  callbacks: {
    onTransportStateChanged: (state) => (seen.state = state),
    onBotReady: note("bot-ready"),
    onBotDisconnected: note("bot-disconnected"),
    onDisconnected: note("disconnected"),
    onUserStartedSpeaking: note("user-started"),
    onUserStoppedSpeaking: note("user-stopped"),
    onBotStartedSpeaking: note("bot-started"),
    onBotStoppedSpeaking: note("bot-stopped"),
    onBotLlmStarted: note("llm-started"),
    onBotLlmStopped: note("llm-stopped"),
    onUserTranscript: (data) => seen.user.push(data),
    onBotTranscript: (data) => seen.bot.push(data.text),
    onBotOutput: note("output"),
    onBotTtsText: (data) => (seen.tts += data.text),
    onServerMessage: note("server-message"),
    onError: (message) => seen.problems.push(message.data),
    onMessageError: (message) => seen.problems.push(message.data),
    onTrackStarted: (track, participant) => {
      if (!participant?.local) {
        const audio = new Audio();
        audio.srcObject = new MediaStream([track]);
        audio.play();
      }
    },
  },
});
window.client = client;

// `start`: whether the first request is `POST /start`.
window.begin = async (url, agent, start) => {
  if (start) {
    await client.startBotAndConnect({ endpoint: `${url}/start`, requestData: { body: { agent } } });
  } else {
    await client.connect({ webrtcRequestParams: { endpoint: `${url}/api/offer`, requestData: { agent } } });
  }
};
