// One call: microphone, peer connection, offer and answer, data channel, statistics. No DOM.
//
// Told by events: "state" (this.state changed), "message" (detail: a server event of the data channel),
// "stream" (detail: {side, stream}), "numbers" (this.numbers changed).

const CONNECT_WITHIN = 15000; // ms from the answer to a connected call
const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

/** Why there is no call, or none any more. `kind` is for programs, the message for people. */
export class CallProblem extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export class Call extends EventTarget {
  state = "microphone"; // then connecting, listening, speaking, reconnecting, ended
  problem = null; // CallProblem, when the call did not end as wished
  numbers = { setup_ms: null, round_trip_ms: null, packets_received: 0, packets_lost: 0, remote_packets_lost: null };
  id = null;
  #peer = null;
  #channel = null;
  #microphone = null;
  #key;
  #tellsSpeaking = false; // the agent sends output_audio_buffer events
  #grantedAt = 0;
  #timers = [];

  /** Make the call. `silence` is the stream to send when the caller wants to type only. */
  async start({ agent, key, silence = null }) {
    this.#key = key;
    try {
      this.#microphone = silence ?? (await microphone());
      if (this.state === "ended") return this.#release();
      this.#grantedAt = performance.now();
      this.#say("stream", { side: "microphone", stream: this.#microphone });
      this.#become("connecting");
      await this.#connect(agent);
    } catch (error) {
      this.#end(error instanceof CallProblem ? error : new CallProblem("failed", `The call failed: ${error.message}`));
    }
  }

  /** End the call; safe at any time, also while the page goes away. */
  hangUp() {
    this.#end(null);
  }

  /** Send a client event; false when the channel is not open. */
  send(event) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(event));
    return true;
  }

  get canType() {
    return this.#channel?.readyState === "open";
  }

  /** What the agent's loudness says about who speaks; counts only for agents that do not tell it themselves. */
  heardAgent(sounding) {
    if (this.#tellsSpeaking) return;
    if (this.state === "listening" && sounding) this.#become("speaking");
    else if (this.state === "speaking" && !sounding) this.#become("listening");
  }

  /** All the browser knows, for tests and the curious. */
  async stats() {
    return this.#peer ? [...(await this.#peer.getStats()).values()] : [];
  }

  async #connect(agent) {
    // No ICE servers and no waiting for candidates: the server is the one with an address (it is ICE-lite).
    const peer = (this.#peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    peer.addEventListener("connectionstatechange", () => this.#connectionChanged());
    peer.addEventListener("track", ({ track }) => this.#say("stream", { side: "agent", stream: new MediaStream([track]) }));
    this.#channel = peer.createDataChannel("oai-events");
    this.#channel.addEventListener("open", () => this.#say("numbers"));
    this.#channel.addEventListener("message", ({ data }) => this.#received(data));
    this.#channel.addEventListener("close", () => this.#closedByServer());
    peer.addTransceiver(this.#microphone.getAudioTracks()[0], { direction: "sendrecv", streams: [this.#microphone] });
    const offer = await peer.createOffer();
    const [answer] = await Promise.all([this.#post(offer.sdp, agent), peer.setLocalDescription(offer)]);
    if (this.state === "ended") return;
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    this.#later(CONNECT_WITHIN, () => {
      if (this.state !== "connecting") return;
      this.#end(new CallProblem("no_media", "The server answered, but no audio gets through: its UDP port can't be reached from here. A firewall may block it; on the server, “antiphon doctor” names what to fix."));
    });
    this.#timers.push(setInterval(() => this.#measure(), 1000));
  }

  async #post(sdp, agent) {
    const url = "/v1/realtime/calls" + (agent ? "?" + new URLSearchParams({ agent }) : "");
    const response = await ask(url, { method: "POST", body: sdp, headers: { "Content-Type": "application/sdp" } }, this.#key);
    this.id = response.headers.get("Location")?.split("/").pop() ?? null;
    if (this.state === "ended") await this.#hangUpAtServer(); // hung up while the offer was on its way
    return response.text();
  }

  #connectionChanged() {
    if (this.state === "ended") return;
    switch (this.#peer.connectionState) {
      case "connected":
        this.numbers.setup_ms ??= performance.now() - this.#grantedAt;
        this.#say("numbers");
        this.#become("listening");
        break;
      case "disconnected":
        if (this.state !== "connecting") this.#become("reconnecting");
        break;
      case "failed":
        this.#end(this.state === "connecting"
          ? new CallProblem("no_media", "The server answered, but no connection for audio came about. A firewall may block UDP; on the server, “antiphon doctor” names what to fix.")
          : new CallProblem("dropped", "The connection was lost and did not come back. Check your network, then call again."));
        break;
      case "closed":
        this.#closedByServer();
    }
  }

  #closedByServer() {
    if (this.state !== "ended") this.#end(new CallProblem("closed", "The server ended the call."));
  }

  #received(data) {
    if (this.state === "ended") return;
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours
    }
    if (event?.type === "output_audio_buffer.started") {
      this.#tellsSpeaking = true;
      if (this.state === "listening") this.#become("speaking");
    } else if (event?.type === "output_audio_buffer.stopped" || event?.type === "output_audio_buffer.cleared") {
      this.#tellsSpeaking = true;
      if (this.state === "speaking") this.#become("listening");
    }
    if (typeof event?.type === "string") this.#say("message", event);
  }

  async #measure() {
    if (this.state === "ended") return;
    for (const entry of await this.stats().catch(() => [])) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") {
        this.numbers.packets_received = entry.packetsReceived ?? 0;
        this.numbers.packets_lost = entry.packetsLost ?? 0;
      } else if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
        this.numbers.remote_packets_lost = entry.packetsLost ?? null;
      } else if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
        this.numbers.round_trip_ms = entry.currentRoundTripTime * 1000;
      }
    }
    this.#say("numbers");
  }

  #end(problem) {
    if (this.state === "ended") return;
    this.problem = problem;
    this.#release();
    this.#become("ended");
  }

  #release() {
    for (const timer of this.#timers) clearInterval(timer);
    this.#microphone?.getTracks().forEach((track) => track.stop());
    // Closed only then: a connection that closes first is a call that ended by itself, and nothing to hang up.
    this.#hangUpAtServer().finally(() => this.#peer?.close());
  }

  async #hangUpAtServer() {
    if (!this.id || this.problem?.kind === "closed") return;
    const id = this.id;
    this.id = null;
    // keepalive: sent also when the page is being closed. If it gets lost the server notices the silence.
    const options = { method: "POST", keepalive: true, signal: AbortSignal.timeout(2000) };
    await ask(`/v1/realtime/calls/${id}/hangup`, options, this.#key).catch(() => {});
  }

  #later(ms, action) {
    this.#timers.push(setTimeout(action, ms));
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#say("state");
  }

  #say(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new CallProblem("insecure", `Browsers give the microphone only to pages from https or from localhost, and this one comes from ${location.origin}. Open it as http://localhost:${location.port || 80}/ on the server itself, or put https in front.`);
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    const texts = {
      NotAllowedError: ["refused", "The microphone was refused. Allow it for this page (the icon beside the address), then start again."],
      NotFoundError: ["missing", "No microphone was found. Plug one in or switch it on, then start again."],
      NotReadableError: ["held", "The microphone can't be used: another program may hold it. Close that, then start again."],
    };
    const [kind, text] = texts[error.name] ?? ["microphone", `The microphone can't be used (${error.name}).`];
    throw new CallProblem(kind, text);
  }
}

/** fetch with the key, and with every way in which it can fail put into words. */
export async function ask(url, options = {}, key = null) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch {
    throw new CallProblem("gone", "The server does not answer. Is Antiphon still running, and are you online? Then start again.");
  }
  if (response.ok) return response;
  const error = (await response.json().catch(() => null))?.error ?? {};
  const said = error.message ?? `status ${response.status}`;
  if (response.status === 401) throw new CallProblem("key", key ? `That key was not accepted: ${said}.` : "A key is needed to call here. Whoever runs this server can give you one.");
  if (response.status === 503) {
    const wait = response.headers.get("Retry-After");
    throw new CallProblem("busy", `The server can't take a call right now: ${said}.${wait ? ` Try again in ${wait} s.` : ""}`);
  }
  throw new CallProblem(error.code ?? "refused_by_server", `The server did not take the call: ${said}.`);
}
