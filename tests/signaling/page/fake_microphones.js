// Stands in for navigator.mediaDevices, so that a page's test decides which microphones there are.

class FakeTrack extends EventTarget {
  kind = "audio";
  readyState = "live";
  constructor(device) {
    super();
    Object.assign(this, { device, label: device.label, muted: device.muted ?? false });
  }
  getSettings() { return { deviceId: this.device.deviceId, groupId: this.device.groupId }; }
  stop() { this.readyState = "ended"; }
  end() {
    this.readyState = "ended";
    this.dispatchEvent(new Event("ended"));
  }
  mute(muted) {
    this.muted = muted;
    this.dispatchEvent(new Event(muted ? "mute" : "unmute"));
  }
}

const listened = new AudioContext().createMediaStreamDestination().stream; // what levels and recorder listen to

class FakeDevices extends EventTarget {
  devices = [{ kind: "audioinput", deviceId: "one", groupId: "a", label: "First" }];
  tracks = [];
  asked = 0;
  refusal = null; // the name of an error
  async getUserMedia() {
    this.asked += 1;
    if (this.gate) await this.gate;
    if (this.refusal) throw new DOMException("", this.refusal);
    if (!this.devices.length) throw new DOMException("", "NotFoundError");
    const track = new FakeTrack(this.devices[0]);
    this.tracks.push(track);
    const stream = listened.clone();
    stream.getAudioTracks = stream.getTracks = () => [track];
    return stream;
  }
  async enumerateDevices() { return [...this.devices]; }
  change(...devices) {
    this.devices = devices;
    this.dispatchEvent(new Event("devicechange"));
  }
}
window.microphones = new FakeDevices();
Object.defineProperty(navigator, "mediaDevices", { value: window.microphones });
