"""A call by GStreamer's webrtcbin: `/usr/bin/python3 gstreamer_webrtcbin.py URL AGENT`.

Runs in the system's Python, which has GStreamer's bindings (Debian: python3-gst-1.0, gir1.2-gst-plugins-bad-1.0,
gstreamer1.0-nice, gstreamer1.0-plugins-good). It sends a tone, opens `oai-events`, and prints one line of JSON: the
first event and how much audio has come back. Exit status 0 if both have come.
"""

import json
import sys
import time
import urllib.error
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

PIPELINE = (
    "webrtcbin name=peer bundle-policy=max-bundle "
    "audiotestsrc is-live=true freq=440 volume=0.3 ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! peer."
)
ENOUGH_PACKETS = 100
SECONDS = 30


class Call:
    """One call. Made and run by `main`; GStreamer's threads call its methods."""

    def __init__(self, url: str, agent: str) -> None:
        self.url, self.agent = url, agent
        self.packets = self.octets = 0
        self.events: list[str] = []
        self.problem: str | None = None
        self.location = ""
        self.began = self.opened = 0.0
        self.pipeline = Gst.parse_launch(PIPELINE)
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        self.peer.connect("pad-added", self.receive)
        self.pipeline.set_state(Gst.State.READY)
        self.channel = self.peer.emit("create-data-channel", "oai-events", None)
        self.channel.connect("on-open", self.open)
        self.channel.connect("on-message-string", lambda _, text: self.events.append(json.loads(text)["type"]))
        self.pipeline.set_state(Gst.State.PLAYING)

    def negotiate(self, peer: Gst.Element) -> None:
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offer, peer))

    def offer(self, promise: Gst.Promise, peer: Gst.Element) -> None:
        reply = promise.get_reply()  # it has the offer, and is kept for as long
        offer = reply["offer"]
        peer.emit("set-local-description", offer, Gst.Promise.new())
        request = urllib.request.Request(
            f"{self.url}/v1/realtime/calls?agent={self.agent}",
            offer.sdp.as_text().encode(),
            {"Content-Type": "application/sdp"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer, self.location = response.read(), response.headers["Location"]
        except urllib.error.HTTPError as error:
            self.problem = f"HTTP {error.code}: {error.read().decode()[:300]}"
            return
        _, sdp = GstSdp.SDPMessage.new_from_text(answer.decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.began = time.monotonic()
        peer.emit("set-remote-description", description, Gst.Promise.new())

    def open(self, _: object) -> None:
        self.opened = time.monotonic()

    def receive(self, peer: Gst.Element, pad: Gst.Pad) -> None:
        if pad.direction != Gst.PadDirection.SRC:
            return
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", self.count)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def count(self, _: object, buffer: Gst.Buffer, __: object) -> None:
        self.packets += 1
        self.octets += buffer.get_size()

    @property
    def over(self) -> bool:
        return self.problem is not None or (self.packets >= ENOUGH_PACKETS and bool(self.events))

    def end(self) -> None:
        self.pipeline.set_state(Gst.State.NULL)
        if self.location:
            path = urllib.request.Request(f"{self.url}{self.location}/hangup", b"", method="POST")
            urllib.request.urlopen(path, timeout=10).close()


def main(url: str, agent: str) -> int:
    Gst.init(None)
    call = Call(url, agent)
    context = GLib.MainContext.default()
    until = time.monotonic() + SECONDS
    while not call.over and time.monotonic() < until:
        context.iteration(False)
        time.sleep(0.01)
    whole = call.over and call.problem is None
    call.end()
    report = {
        "gstreamer": Gst.version_string(),
        "opened_ms": round((call.opened - call.began) * 1000) if call.opened else None,
        "first": call.events[:1],
        "packets": call.packets,
        "octets": call.octets,
        "problem": call.problem or (None if whole else "audio or events did not come in time"),
    }
    print(json.dumps(report))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
