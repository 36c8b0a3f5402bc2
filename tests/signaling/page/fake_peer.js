// Stands in for RTCPeerConnection, so that a page's test decides what the network does.

class FakeChannel extends EventTarget {
  readyState = "connecting";
  sent = [];
  send(text) { this.sent.push(JSON.parse(text)); }
}

class FakePeer extends EventTarget {
  connectionState = "new";
  numbers = {};
  constructor(configuration) {
    super();
    this.configuration = configuration;
    this.did = [];
    window.fakePeer = this;
  }
  createDataChannel(label, { negotiated = false } = {}) {
    if (negotiated) return (this.probe = new FakeChannel());
    this.did.push(`channel ${label}`);
    return (this.channel = new FakeChannel());
  }
  addTransceiver(track, { direction }) {
    this.did.push(`${track.kind} ${direction}`);
    this.sent = [track];
    return { sender: { replaceTrack: async (other) => { this.sent.push(other); } } };
  }
  async createOffer() { this.did.push("offer"); return { type: "offer", sdp: window.fakeOffer }; }
  async setLocalDescription() {}
  async setRemoteDescription({ sdp }) { this.answer = sdp; }
  async addIceCandidate({ candidate }) { this.did.push(candidate); }
  async getStats() { return new Map(Object.entries(this.numbers)); }
  close() { this.connectionState = "closed"; this.channel.readyState = "closed"; }

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }
  open() {
    this.channel.readyState = "open";
    this.channel.dispatchEvent(new Event("open"));
  }
  say(...events) {
    for (const event of events) this.channel.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(event) }));
  }
  sound() {
    const context = new AudioContext();
    const [tone, volume] = [context.createOscillator(), context.createGain()];
    volume.gain.value = 0;
    const out = context.createMediaStreamDestination();
    tone.connect(volume).connect(out);
    tone.start();
    const event = new Event("track");
    event.track = out.stream.getAudioTracks()[0];
    this.dispatchEvent(event);
    this.volume = volume.gain;
  }
}
window.RTCPeerConnection = FakePeer;
