"""`connect` and `VoiceCall` of antiphon.js: options, states, events, errors. The test plays the browser and the server.

It runs in node and in virtual time; `tests/clients/antiphon_js.py` holds a call by it in Chromium.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browsers.virtual_page import VirtualPage, virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

BROWSER = """async (module) => {
  globalThis.antiphon = await import(module);
  class Track extends EventTarget {
    kind = "audio"; enabled = true; muted = false; readyState = "live"; label = "a microphone";
    stop() { this.readyState = "ended"; }
    getSettings() { return {}; }
  }
  globalThis.MediaStream = class { constructor(tracks = [new Track()]) { this.tracks = tracks; }
    getTracks() { return this.tracks; } getAudioTracks() { return this.tracks; } };
  globalThis.Audio = class { play() { return audible ? Promise.resolve() : Promise.reject(new Error("NotAllowed")); }
    pause() { this.paused = true; } };
  globalThis.AudioContext = class { createMediaStreamDestination() { return { stream: new MediaStream() }; }
    async close() {} };
  globalThis.location = { origin: "https://page.example", port: "" };
  globalThis.begin = () => {
    globalThis.audible = true;
    globalThis.refusal = null; // of the microphone
    globalThis.requests = [];
    globalThis.status = { status: "running" };
    globalThis.answer = { status: 201, body: "v=0\\r\\n" };
    const mediaDevices = Object.assign(new EventTarget(), {
      getUserMedia: async () => {
        if (refusal) throw Object.assign(new Error("no"), { name: refusal });
        return (globalThis.microphone = new MediaStream());
      },
      enumerateDevices: async () => [],
    });
    Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true, writable: true });
    globalThis.fetch = async (url, { method = "GET", headers = {}, signal } = {}) => {
      requests.push({ url, method, key: headers.Authorization ?? null });
      if (answer === "gone") throw new TypeError("failed to fetch");
      if (method === "GET") return new Response(JSON.stringify(status));
      const { status: code, body, ...more } = url.endsWith("hangup") ? { status: 200, body: "" } : answer;
      return new Response(body, { status: code, headers: { Location: "/v1/realtime/calls/rtc_1", ...more.headers } });
    };
    globalThis.RTCPeerConnection = class extends EventTarget {
      connectionState = "new"; signalingState = "stable"; sctp = null;
      constructor() { super(); globalThis.peer = this; }
      createDataChannel() {
        this.channel = Object.assign(new EventTarget(), { readyState: "connecting", sent: [] });
        this.channel.send = (text) => this.channel.sent.push(JSON.parse(text));
        return this.channel;
      }
      addTransceiver() { return { sender: { replaceTrack: async () => {} } }; }
      async createOffer() { return { type: "offer", sdp: "v=0" }; }
      async setLocalDescription() {}
      async setRemoteDescription() { this.answered = true; }
      async getStats() { return new Map(); }
      close() { this.connectionState = "closed"; }
      become(state) { this.connectionState = state; this.dispatchEvent(new Event("connectionstatechange")); }
      open() { this.channel.readyState = "open"; this.channel.dispatchEvent(new Event("open")); }
      say(event) {
        this.channel.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(event) }));
      }
    };
  };
  // Begin a call; `outcome` is what connect() came to.
  globalThis.place = (options = {}) => {
    globalThis.outcome = null;
    globalThis.told = [];
    const call = (globalThis.call = new antiphon.VoiceCall(options));
    for (const type of ["state", "transcript", "event", "problem", "move"]) {
      call.addEventListener(type, ({ detail }) => told.push([type, detail?.kind ?? detail?.type ?? detail]));
    }
    call.start().then(() => { outcome = "connected"; }, (error) => {
      const { name, kind, status, code, retryAfter } = error;
      outcome = { name, kind, status, code, retryAfter };
    });
  };
}"""


@pytest.fixture(scope="module")
def node() -> Iterator[VirtualPage]:
    with virtual_page() as page:
        page.evaluate(BROWSER, (files.STATIC / "antiphon.js").resolve().as_uri())
        yield page


@pytest.fixture
def page(node: VirtualPage) -> Iterator[VirtualPage]:
    node.evaluate("begin()")
    yield node
    node.evaluate("globalThis.call?.hangUp()")
    node.evaluate("forget()")


def connected(page: VirtualPage, options: str = "{}") -> None:
    page.evaluate(f"place({options})")
    page.evaluate("peer.become('connected'); peer.open()")
    assert page.evaluate("outcome") == "connected"


def told(page: VirtualPage, kind: str) -> list[Any]:
    events: list[list[Any]] = page.evaluate("told")
    return [what for name, what in events if name == kind]


def test_a_call_is_placed_with_the_token_that_a_function_gives_and_is_hung_up(page: VirtualPage) -> None:
    connected(page, "{ url: 'https://voice.example/', token: async () => 'ek_1', agent: 'echo' }")
    assert told(page, "state") == ["connecting", "connected"]
    page.evaluate("call.hangUp()")
    assert page.evaluate("requests") == [
        {"url": "https://voice.example/v1/realtime/calls?agent=echo", "method": "POST", "key": "Bearer ek_1"},
        {"url": "https://voice.example/v1/realtime/calls/rtc_1/hangup", "method": "POST", "key": "Bearer ek_1"},
    ]
    assert told(page, "state")[-1] == "ended"
    assert page.evaluate("microphone.getTracks()[0].readyState") == "ended"
    assert page.evaluate("call.problem") is None


def test_what_is_said_is_in_the_transcript(page: VirtualPage) -> None:
    connected(page)
    page.evaluate("peer.say({ type: 'response.output_audio_transcript.delta', item_id: 'a1', delta: 'Hello' })")
    page.evaluate("peer.say({ type: 'response.output_audio_transcript.done', item_id: 'a1', transcript: 'Hello.' })")
    assert page.evaluate("call.transcript") == [
        {"id": "a1", "role": "assistant", "text": "Hello.", "final": True, "interrupted": False}
    ]
    assert len(told(page, "transcript")) == 2
    assert told(page, "event")[-1] == "response.output_audio_transcript.done"


def test_something_is_said_in_writing_once_the_channel_is_open(page: VirtualPage) -> None:
    page.evaluate("place({ microphone: false })")
    assert page.evaluate("call.say('hello')") is False
    page.evaluate("peer.become('connected'); peer.open()")
    assert page.evaluate("call.say('hello')") is True
    assert page.evaluate("peer.channel.sent.map(({ type }) => type)") == ["conversation.item.create", "response.create"]


def test_a_muted_call_sends_silence_until_it_is_muted_no_more(page: VirtualPage) -> None:
    connected(page)
    page.evaluate("call.mute()")
    assert page.evaluate("[call.muted, microphone.getTracks()[0].enabled]") == [True, False]
    page.evaluate("call.mute(false)")
    assert page.evaluate("[call.muted, microphone.getTracks()[0].enabled]") == [False, True]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NotAllowedError", "refused"),
        ("NotFoundError", "missing"),
        ("NotReadableError", "held"),
        ("Other", "microphone"),
    ],
)
def test_a_microphone_that_is_not_to_be_had_is_an_error_of_its_own(page: VirtualPage, name: str, kind: str) -> None:
    page.evaluate(f"refusal = '{name}'; place()")
    assert page.evaluate("outcome.name") == "MicrophoneError"
    assert page.evaluate("outcome.kind") == kind
    assert page.evaluate("call.state") == "ended"
    assert page.evaluate("requests") == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("'gone'", "unreachable"),
        ("{ status: 401, body: '{}' }", "unauthorized"),
        ("{ status: 503, body: '{}', headers: { 'Retry-After': '2' } }", "busy"),
        ("{ status: 429, body: '{}' }", "busy"),
        ('{ status: 400, body: \'{"error": {"code": "bad_agent"}}\' }', "refused"),
        ('{ status: 502, body: \'{"error": {"code": "agent_ended"}}\' }', "ended"),
    ],
)
def test_a_server_that_does_not_take_the_call_is_an_error_with_its_kind(
    page: VirtualPage, answer: str, kind: str
) -> None:
    page.evaluate(f"answer = {answer}; place()")
    assert page.evaluate("outcome.name") == "AntiphonError"
    assert page.evaluate("outcome.kind") == kind
    assert told(page, "problem") == [kind]
    if "Retry-After" in answer:
        assert page.evaluate("outcome.retryAfter") == "2"


@pytest.mark.parametrize(
    "options",
    ["{ uri: 'https://x' }", "{ url: 'voice.example' }", "{ token: 5 }", "{ steering: { los: 1 } }"],
)
def test_an_option_that_can_not_be_is_named(page: VirtualPage, options: str) -> None:
    script = f"async () => antiphon.connect({options}).catch(({{ kind, message }}) => [kind, message])"
    kind, message = page.evaluate(script)
    assert kind == "invalid"
    assert message


def test_a_call_that_is_given_up_before_it_is_connected_is_hung_up(page: VirtualPage) -> None:
    page.evaluate("globalThis.giving = new AbortController(); place({ signal: giving.signal })")
    page.evaluate("giving.abort()")
    assert page.evaluate("outcome.kind") == "aborted"
    assert page.evaluate("requests.at(-1).url") == "/v1/realtime/calls/rtc_1/hangup"
    page.evaluate("place({ signal: AbortSignal.abort() })")
    assert page.evaluate("outcome.kind") == "aborted"


def test_a_call_that_no_audio_gets_through_ends_as_no_media(page: VirtualPage) -> None:
    page.evaluate("place()")
    page.advance(14_000)
    assert page.evaluate("outcome") is None
    page.advance(2000)
    assert page.evaluate("outcome.kind") == "no_media"


def test_an_agent_that_ended_the_call_by_a_fault_is_told_as_such_and_a_goodbye_is_none(page: VirtualPage) -> None:
    connected(page)
    page.evaluate("status = { status: 'ended', fault: false, message: 'the agent ended the call' }")
    page.evaluate("peer.channel.dispatchEvent(new Event('close'))")
    assert page.evaluate("[call.state, call.problem, call.ending.message]") == [
        "ended",
        None,
        "the agent ended the call",
    ]
    assert [each["url"] for each in page.evaluate("requests")].count("/v1/realtime/calls/rtc_1/hangup") == 0
    connected(page)
    page.evaluate("status = { status: 'ended', fault: true, reason: 'agent_lost', message: 'the agent is gone' }")
    page.evaluate("peer.channel.dispatchEvent(new Event('close'))")
    assert page.evaluate("[call.problem.kind, call.problem.code]") == ["ended", "agent_lost"]


def test_a_lost_connection_is_mended_or_lost_for_good_after_45_seconds(page: VirtualPage) -> None:
    connected(page)
    page.evaluate("peer.become('failed')")
    page.advance(20_000)
    page.evaluate("peer.become('connected')")
    page.advance(60_000)
    assert told(page, "state") == ["connecting", "connected", "reconnecting", "connected"]
    page.evaluate("peer.become('disconnected')")
    page.advance(46_000)
    assert page.evaluate("call.problem.kind") == "lost"


def test_a_page_that_may_not_play_sound_is_told_and_the_call_goes_on(page: VirtualPage) -> None:
    page.evaluate("audible = false")
    connected(page)
    page.evaluate("peer.dispatchEvent(Object.assign(new Event('track'), { track: new MediaStream().tracks[0] }))")
    assert told(page, "problem") == ["sound"]
    assert page.evaluate("call.state") == "connected"


PREPARES = """
  globalThis.peers = [];
  const Peer = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Peer {
    iceConnectionState = "new";
    constructor() { super(); peers.push(this); }
    addTransceiver(what) {
      this.offered = typeof what === "string" ? what : what.kind;
      return { sender: { replaceTrack: async (track) => { this.voice = track; } } };
    }
    answerChecks() { this.iceConnectionState = "connected"; this.dispatchEvent(new Event("iceconnectionstatechange")); }
  };
  const asked = async () => Object.assign(new EventTarget(), { state: permitted });
  navigator.permissions = { query: asked };
  globalThis.permitted = "granted";
  answer = { status: 201, body: "v=0\\r\\n", headers: { "Antiphon-Prepared": "60" } };
  globalThis.asked = () => requests.map(({ url }) => url.split("/").pop());
  // As `place`, with the call that `prepared` is.
  globalThis.start = () => {
    globalThis.outcome = null;
    call.start().then(() => { outcome = "connected"; }, (error) => { outcome = error.kind; });
  };
"""


def test_a_prepared_call_asks_for_no_microphone_before_and_for_nothing_at_the_server_after_the_click(
    page: VirtualPage,
) -> None:
    page.evaluate(PREPARES + "globalThis.microphone = null; globalThis.call = antiphon.prepare({ agent: 'echo' });")
    assert page.evaluate("asked()") == ["prepare?agent=echo"]
    assert page.evaluate("[call.prepared, call.state, peers[0].offered, peers[0].answered ?? false, microphone]") == [
        True,
        "idle",
        "audio",
        False,
        None,
    ]
    page.evaluate("start()")
    page.evaluate("peers[0].answerChecks(); peers[0].become('connected')")
    assert page.evaluate("outcome") == "connected"
    assert page.evaluate("peers[0].voice === microphone.getAudioTracks()[0]")
    assert page.evaluate("[asked().length, peers.length, call.id]") == [1, 1, "rtc_1"]


def test_chromium_has_the_answer_before_the_click_and_gets_the_relay_with_it(page: VirtualPage) -> None:
    page.evaluate(
        PREPARES
        + """
        navigator.userAgentData = {};
        const lines = ["a=candidate:10 1 udp 2130706000 192.0.2.1 9000 typ host", "a=end-of-candidates", ""];
        answer.body = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", ...lines].join("\\r\\n");
        const Other = RTCPeerConnection;
        globalThis.RTCPeerConnection = class extends Other {
          added = [];
          async setRemoteDescription({ sdp }) {
            this.sdp = sdp;
            this.dispatchEvent(Object.assign(new Event("track"), { track: new MediaStream().tracks[0] }));
          }
          async addIceCandidate({ candidate, sdpMLineIndex }) { this.added.push([candidate, sdpMLineIndex]); }
        };
        globalThis.call = antiphon.prepare();
        """
    )
    assert page.evaluate("peers[0].sdp") == "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    assert page.evaluate("[peers[0].added, call.stream]") == [[], None]
    page.evaluate("start()")
    assert page.evaluate("peers[0].added") == [["candidate:10 1 udp 1000000000 192.0.2.1 9000 typ host", 0]]
    page.evaluate("peers[0].answerChecks(); peers[0].become('connected')")
    assert page.evaluate("[outcome, call.stream !== null, asked().length]") == ["connected", True, 1]


def test_a_prepared_call_that_nobody_answers_is_replaced_by_an_ordinary_one(page: VirtualPage) -> None:
    page.evaluate(PREPARES + "globalThis.call = antiphon.prepare();")
    page.evaluate("start()")
    page.advance(490)
    assert page.evaluate("asked()") == ["prepare"]
    page.advance(20)
    assert page.evaluate("asked()") == ["prepare", "hangup", "calls"]
    assert page.evaluate("[peers.length, peers[0].connectionState, peers[1].offered]") == [2, "closed", "audio"]
    page.evaluate("peers[0].become('connected')")
    assert page.evaluate("outcome") is None, "the connection that was given up says nothing"
    page.evaluate("peers[1].become('connected')")
    assert page.evaluate("outcome") == "connected"


def test_what_is_prepared_is_made_anew_in_time_until_nobody_comes_and_not_where_the_server_refuses(
    page: VirtualPage,
) -> None:
    page.evaluate(
        PREPARES + "globalThis.button = new EventTarget(); globalThis.call = antiphon.prepare({}, { button });"
    )
    assert page.evaluate("asked()") == []
    page.evaluate("button.dispatchEvent(new Event('pointerenter'))")
    page.advance(40_000)
    assert page.evaluate("asked()") == ["prepare"]
    page.advance(10_000)
    assert page.evaluate("asked()") == ["prepare", "prepare"]
    assert page.evaluate("peers.map(({ connectionState }) => connectionState)") == ["closed", "new"]
    page.advance(3_600_000)
    assert page.evaluate("asked().length") == 10
    assert page.evaluate("call.prepared") is False
    page.evaluate("answer = { status: 404, body: '{}' }; button.dispatchEvent(new Event('pointerenter'))")
    page.advance(600_000)
    assert page.evaluate("asked().length") == 11
    page.evaluate("answer = { status: 201, body: '' }; start()")
    assert page.evaluate("asked().at(-1)") == "calls"


def test_a_click_while_the_offer_is_on_its_way_waits_for_its_answer_and_a_question_for_the_user(
    page: VirtualPage,
) -> None:
    page.evaluate(
        PREPARES
        + """
        const ask = fetch;
        const slow = (found) => new Promise((go) => setTimeout(() => go(found), 100));
        globalThis.fetch = (...all) => ask(...all).then(slow);
        const open = navigator.mediaDevices.getUserMedia;
        navigator.mediaDevices.getUserMedia = () => new Promise((go) => { globalThis.allow = () => go(open()); });
        permitted = "prompt";
        globalThis.call = antiphon.prepare();
        """
    )
    page.evaluate("start()")
    page.advance(150)
    assert page.evaluate("[asked().length, peers[0].answered ?? false]") == [1, False]
    page.evaluate("allow()")
    page.evaluate("peers[0].answerChecks(); peers[0].become('connected')")
    assert page.evaluate("[outcome, asked().length]") == ["connected", 1]


def test_a_prepared_call_is_given_up_with_its_microphone(page: VirtualPage) -> None:
    page.evaluate(PREPARES + "globalThis.call = antiphon.prepare();")
    page.evaluate("refusal = 'NotAllowedError'; start(); ")
    page.evaluate("peers[0].answerChecks()")
    assert page.evaluate("[outcome, call.state, asked().at(-1)]") == ["refused", "ended", "hangup"]
