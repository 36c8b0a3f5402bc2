// A WHIP client of a page (RFC 9725), in plain JavaScript: publish, trickle, restart ICE by a fragment, end.
//
// Loaded by tests/e2e/test_whip.py into the page of the stack.
window.WhipClient = class {
  constructor(endpoint) {
    this.endpoint = endpoint;
    this.connection = new RTCPeerConnection({bundlePolicy: "max-bundle"});
    this.requests = [];
  }

  async publish({receive = false, video = false} = {}) {
    const stream = await navigator.mediaDevices.getUserMedia({audio: true});
    const direction = receive ? "sendrecv" : "sendonly";
    this.connection.addTransceiver(stream.getAudioTracks()[0], {direction, streams: [stream]});
    if (video) {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d");
      this.connection.addTransceiver(canvas.captureStream(5).getVideoTracks()[0], {direction, streams: [stream]});
    }
    await this.connection.setLocalDescription();
    const offer = this.connection.localDescription.sdp;
    const headers = {"Content-Type": "application/sdp"};
    const response = await this.ask(this.endpoint, {method: "POST", headers, body: offer});
    if (response.status !== 201) throw new Error(await response.text());
    this.session = new URL(response.headers.get("Location"), new URL(this.endpoint, location)).href;
    this.tag = response.headers.get("ETag");
    this.answer = await response.text();
    await this.connection.setRemoteDescription({type: "answer", sdp: this.answer});
  }

  /** Sends the candidates that there are: 204, and nothing changes. */
  async trickle() {
    return (await this.patch(this.tag)).status;
  }

  /** Restarts ICE without another offer to the server: the answer is the old one with what the fragment brought. */
  async restart() {
    const before = this.connection.localDescription.sdp;
    await this.connection.setLocalDescription(await this.connection.createOffer({iceRestart: true}));
    if (this.connection.localDescription.sdp === before) throw new Error("no new offer");
    const response = await this.patch("*");
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    this.tag = response.headers.get("ETag");
    const fragment = await response.text();
    const said = (name) => fragment.match(new RegExp(`a=${name}:(.*)\r\n`))[1];
    const candidates = fragment.match(/a=candidate:.*\r\n/g).join("");
    this.answer = this.answer
      .replace(/a=candidate:.*\r\n/g, "")
      .replace(/a=ice-ufrag:.*\r\n/g, `a=ice-ufrag:${said("ice-ufrag")}\r\n`)
      .replace(/a=ice-pwd:.*\r\n/g, `a=ice-pwd:${said("ice-pwd")}\r\n`)
      .replace("a=end-of-candidates\r\n", `${candidates}a=end-of-candidates\r\n`);
    await this.connection.setRemoteDescription({type: "answer", sdp: this.answer});
    return said("ice-ufrag");
  }

  async end() {
    const {status} = await this.ask(this.session, {method: "DELETE"});
    this.connection.close();
    return status;
  }

  async patch(tag) {
    const lines = this.connection.localDescription.sdp.split("\r\n");
    const mid = lines.findIndex((line) => line.startsWith("a=mid:"));
    const media = lines.find((line) => line.startsWith("m="));
    const wanted = lines.filter((line) => /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
    const once = [...new Set(wanted)];
    const body = ["a=group:BUNDLE 0", media, lines[mid], ...once, ""].join("\r\n");
    const headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag};
    return this.ask(this.session, {method: "PATCH", headers, body});
  }

  async ask(url, options) {
    const response = await fetch(url, options);
    this.requests.push(`${options.method} ${response.status}`);
    return response;
  }

  /** Packets that were sent, and that came. */
  async packets() {
    const all = [...(await this.connection.getStats()).values()];
    const of = (type, name) => all.filter((each) => each.type === type && each.kind === "audio")
      .reduce((sum, each) => sum + (each[name] ?? 0), 0);
    return {sent: of("outbound-rtp", "packetsSent"), received: of("inbound-rtp", "packetsReceived")};
  }
};
