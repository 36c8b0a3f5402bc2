// Uses of antiphon.js that have to pass tsc, and, behind @ts-expect-error, some that must not. It is not run.

import {
  AntiphonCall,
  AntiphonError,
  Conversation,
  KeptPath,
  Microphone,
  MicrophoneError,
  PathWatch,
  STEERING,
  VoiceCall,
  PreparedCall,
  connect,
  microphoneIsGranted,
  prepare,
  request,
  splitRelays,
} from "antiphon.js";
import type { CallState, CallStats, Move, TranscriptItem } from "antiphon.js";

export async function use(stream: MediaStream, peer: RTCPeerConnection): Promise<void> {
  const call: VoiceCall = await connect({
    url: "https://voice.example.org",
    token: async () => (await fetch("/token")).text(),
    agent: "concierge",
    microphone: stream,
    audio: document.createElement("audio"),
    steering: { loss: 0.1, wait_ms: [1000, 2000] },
    signal: AbortSignal.timeout(1000),
  });
  call.addEventListener("transcript", ({ detail }) => {
    const item: TranscriptItem = detail;
    console.log(item.role === "user", item.text.length);
  });
  call.addEventListener("state", ({ detail }) => console.log(detail satisfies CallState));
  call.addEventListener("move", ({ detail }) => console.log((detail satisfies Move).relay?.length));
  call.addEventListener("problem", ({ detail }) => console.log(detail.kind === "lost", detail.retryAfter));
  call.addEventListener("event", ({ detail }) => console.log(detail.type, detail["anything"]));
  const ready: VoiceCall = prepare({ agent: "concierge" }, { button: document.querySelector("button") });
  ready.prepare();
  await ready.start();
  call.mute();
  call.mute(false);
  const sent: boolean = call.send({ type: "response.create" }) && call.say("hello");
  const stats: CallStats = await call.stats();
  console.log(sent, stats.round_trip_ms?.toFixed(), call.id, call.transcript.length, call.stream?.id, call.ending?.message);
  call.hangUp();

  // @ts-expect-error there is no such option
  await connect({ uri: "https://voice.example.org" });
  // @ts-expect-error of a state there is no such value
  if (call.state === "ringing") call.hangUp();
  // @ts-expect-error a transcript is read only
  call.transcript = [];
  // @ts-expect-error an event has a type
  call.send({});

  try {
    await connect();
  } catch (error) {
    if (error instanceof MicrophoneError && error.kind === "refused") return;
    if (error instanceof AntiphonError) console.log(error.status, error.code, error.kind, error.cause);
  }

  const low = new AntiphonCall({ server: "", key: "ek_", steering: false });
  low.addEventListener("restart", ({ detail }) => console.log(detail.state, detail.why));
  low.addEventListener("ended", ({ detail }) => console.log(detail?.fault));
  await low.connect({ stream, agent: "echo" });
  await low.replaceMicrophone(stream);
  await low.hangUp({ tell: false });
  const { first } = splitRelays("v=0");
  const path = new KeptPath(peer, first, { reoffer: async (sdp) => sdp, status: () => low.status() });
  path.addEventListener("gone", ({ detail }) => console.log(detail?.status));
  console.log(await path.move(), path.restart("asked"), path.moves, STEERING.loss, new PathWatch().state);
  path.close();
  const said = new Conversation().apply({ type: "response.done" });
  const microphone = new Microphone();
  microphone.addEventListener("state", () => console.log(microphone.state, microphone.label, said.length));
  await microphone.open();
  await request("/v1/agents", { method: "GET" }, "ek_");
}
