"""The page in headless Chromium, with the real signaling service and a network that the test decides on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from support.nats import nats_server
from support.signaling import OFFER, SignalingProcess, StandIns, signaling_process, until

from antiphon.schemas.messages import Refused

FAKE_PEER = (Path(__file__).parent / "fake_peer.js").read_text() + f"window.fakeOffer = {json.dumps(OFFER)};"
ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def bus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="module")
def parts(bus_url: str) -> Iterator[StandIns]:
    stand_ins = StandIns(bus_url)
    stand_ins.transceiver(capacity=10**6)
    stand_ins.relay()
    stand_ins.agent()
    stand_ins.agent("echo")
    yield stand_ins
    stand_ins.close()


@pytest.fixture(scope="module")
def service(bus_url: str, parts: StandIns) -> Iterator[SignalingProcess]:
    with signaling_process(bus_url) as running:
        until(lambda: httpx.get(running.url + "/healthz").status_code == 200, "the stack is healthy")
        yield running


@pytest.fixture
def open_page(browser: Browser, service: SignalingProcess) -> Iterator[Open]:
    """Opens the page; every test also proves that it logged nothing and asked nobody else."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(
        url: str = service.url, *, microphone: bool = True, fake_peer: bool = True, quiet: bool = True, **options: Any
    ) -> Page:
        origin = url.split("?")[0]
        context = browser.new_context(permissions=["microphone"] if microphone else [], **options)
        contexts.append(context)
        page = context.new_page()
        if fake_peer:
            page.add_init_script(FAKE_PEER)
        if quiet:
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(origin) else complaints.append(request.url))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def ready(open_page: Open) -> Page:
    page = open_page()
    expect(page.get_by_label("Agent")).to_have_value("concierge")
    return page


def holds(page: Page, condition: str) -> None:
    """Wait for a JavaScript expression to be true (the page's policy forbids Playwright's own way, eval)."""
    until(lambda: page.evaluate(f"Boolean({condition})"), condition)


def connect(page: Page) -> None:
    """From the press of the button to a connected call."""
    page.get_by_role("button", name="Start call").click()
    holds(page, "window.fakePeer?.answer")
    page.evaluate("fakePeer.sound(); fakePeer.become('connected'); fakePeer.open()")
    expect(page.get_by_role("status")).to_have_text("Listening. Go ahead.")


def state(page: Page) -> str:
    return str(page.evaluate("antiphon.state"))


def test_a_call_is_made_without_ice_servers_and_with_its_channel_in_the_offer(ready: Page) -> None:
    connect(ready)
    assert ready.evaluate("fakePeer.did") == ["channel oai-events", "audio sendrecv", "offer"]
    assert "iceServers" not in ready.evaluate("fakePeer.configuration")
    assert "203.0.113.10 3478" in ready.evaluate("fakePeer.answer")
    assert state(ready) == "listening"
    expect(ready.locator("#setup")).to_contain_text("ms")


def test_the_chosen_agent_is_called_and_hung_up(open_page: Open, parts: StandIns) -> None:
    transceiver = parts._all[0]
    page = open_page()
    page.get_by_label("Agent").select_option("echo")
    connect(page)
    assert transceiver.opened[-1].agent == "echo"
    before = len(transceiver.hung_up)
    page.get_by_role("button", name="End call").click()
    expect(page.get_by_role("status")).to_have_text("The call has ended.")
    until(lambda: len(transceiver.hung_up) > before, "the call is hung up")
    expect(page.get_by_role("button", name="Call again")).to_be_visible()
    assert page.evaluate("antiphon.problem") is None


def test_a_call_given_up_while_it_is_placed_is_hung_up_all_the_same(open_page: Open, parts: StandIns) -> None:
    page = open_page()
    before = len(parts._all[0].hung_up)
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = async (...all) => {
            const response = await real(...all);
            if (all[0].split("?")[0] === "/v1/realtime/calls") document.getElementById("call").click();
            return response;
          };
        }"""
    )
    page.get_by_role("button", name="Start call").click()
    until(lambda: len(parts._all[0].hung_up) > before, "the call is hung up")
    expect(page.get_by_role("button", name="Call again")).to_be_visible()


def test_an_agent_named_in_the_address_is_preselected(open_page: Open, service: SignalingProcess) -> None:
    page = open_page(service.url + "/?agent=echo", quiet=False)
    expect(page.get_by_label("Agent")).to_have_value("echo")


def test_closing_the_page_hangs_up(ready: Page, parts: StandIns) -> None:
    connect(ready)
    before = len(parts._all[0].hung_up)
    ready.goto("about:blank")
    until(lambda: len(parts._all[0].hung_up) > before, "the call is hung up")


CONVERSATION: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.speech_started", "item_id": "u1"},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "u1"},
    {
        "type": "conversation.item.added",
        "item": {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]},
    },
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u1",
        "transcript": "Could you book me a table for Friday?",
    },
    {"type": "response.created", "response": {"id": "r1"}},
    {
        "type": "response.output_item.added",
        "item": {"id": "a1", "type": "message", "role": "assistant", "status": "in_progress", "content": []},
    },
    {"type": "output_audio_buffer.started", "response_id": "r1"},
    {"type": "response.output_audio_transcript.delta", "item_id": "a1", "delta": "Gladly. On Friday "},
    {"type": "response.output_audio_transcript.delta", "item_id": "a1", "delta": "there is room at seven"},
]


def test_both_sides_are_written_down_as_they_speak(ready: Page) -> None:
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    expect(ready.get_by_role("listitem")).to_have_text(
        ["YouCould you book me a table for Friday?", "ConciergeGladly. On Friday there is room at seven"]
    )
    expect(ready.get_by_role("status")).to_have_text("The agent is speaking. You can interrupt.")
    done = {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": "At seven or at nine?"}
    ready.evaluate("events => fakePeer.say(...events)", [done, {"type": "output_audio_buffer.stopped"}])
    expect(ready.get_by_role("listitem").nth(1)).to_contain_text("At seven or at nine?")
    expect(ready.locator("#announcer")).to_have_text("Concierge: At seven or at nine?")
    assert state(ready) == "listening"
    assert [(item["role"], item["text"]) for item in ready.evaluate("antiphon.transcripts")] == [
        ("user", "Could you book me a table for Friday?"),
        ("assistant", "At seven or at nine?"),
    ]


def test_an_interrupted_answer_is_marked(ready: Page) -> None:
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    cancelled = {"type": "response.done", "response": {"status": "cancelled", "output": [{"id": "a1"}]}}
    ready.evaluate("events => fakePeer.say(...events)", [{"type": "output_audio_buffer.cleared"}, cancelled])
    expect(ready.locator("li.interrupted")).to_have_count(1)
    assert state(ready) == "listening"


def test_typing_takes_the_place_of_speech_and_interrupts(ready: Page) -> None:
    expect(ready.get_by_label("Type instead of speaking")).to_be_disabled()
    connect(ready)
    ready.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    ready.get_by_label("Type instead of speaking").fill("What time is it?")
    ready.keyboard.press("Enter")
    sent = ready.evaluate("fakePeer.channel.sent")
    assert [event["type"] for event in sent] == [
        "response.cancel",
        "output_audio_buffer.clear",
        "conversation.item.create",
        "response.create",
    ]
    assert sent[2]["item"]["content"] == [{"type": "input_text", "text": "What time is it?"}]
    expect(ready.get_by_label("Type instead of speaking")).to_have_value("")
    echoed = {
        "type": "conversation.item.added",
        "item": {
            "id": "server_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "What time is it?"}],
        },
    }
    ready.evaluate("event => fakePeer.say(event)", echoed)
    expect(ready.get_by_text("What time is it?")).to_have_count(1)


def test_text_from_the_other_side_is_text_and_never_markup(ready: Page) -> None:
    connect(ready)
    text = "<img src=x onerror=alert(1)><b>bold</b>"
    said = {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": text}
    ready.evaluate("events => fakePeer.say(...events)", [{"type": "nonsense"}, said])
    expect(ready.get_by_role("listitem")).to_have_text(f"Concierge{text}")
    ready.evaluate("fakePeer.channel.dispatchEvent(new MessageEvent('message', {data: 'no json'}))")
    assert state(ready) == "listening"


def test_the_answer_time_runs_from_the_end_of_speech_to_the_first_sound(ready: Page) -> None:
    script = """async () => {
      const {AnswerClock} = await import('/static/levels.js');
      const clock = new AnswerClock(), took = [];
      for (let now = 0; now < 8000; now += 20) {
        const voice = (now > 1000 && now < 2000) || (now > 5000 && now < 6000);
        const agent = (now >= 2600 && now < 4000) || now >= 6900;
        const answer = clock.feed(now, voice ? 0.1 : 0.001, agent ? 0.05 : 0);
        if (answer !== null) took.push(answer);
      }
      return took;
    }"""
    assert ready.evaluate(script) == [620, 920]


def test_where_the_server_spent_its_time_is_shown(ready: Page) -> None:
    connect(ready)
    event = {
        "type": "antiphon.latency",
        "end_of_speech_to_first_audio_ms": 512.4,
        "end_of_turn_ms": 210.0,
        "stt_wait_ms": 90.2,
        "agent_ms": 5.0,
        "tts_first_ms": 120.0,
    }
    ready.evaluate("event => fakePeer.say(event)", event)
    expect(ready.locator("#latency")).to_contain_text(
        "took 512 ms: end of turn 210, understanding 90, answer 5, voice 120."
    )


def test_measured_times_and_losses_are_shown(ready: Page) -> None:
    connect(ready)
    ready.evaluate(
        """fakePeer.numbers = {
          in: {type: 'inbound-rtp', kind: 'audio', packetsReceived: 990, packetsLost: 10},
          out: {type: 'remote-inbound-rtp', kind: 'audio', packetsLost: 3},
          pair: {type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.042},
        }"""
    )
    expect(ready.locator("#lost")).to_have_text("1.0 %, 3 at the server")
    expect(ready.locator("#round-trip")).to_have_text("42 ms")
    ready.evaluate("fakePeer.volume.value = 0.5")  # the fake microphone beeps, then the agent sounds
    holds(ready, "antiphon.state === 'speaking'")
    ready.evaluate("fakePeer.volume.value = 0")
    holds(ready, "antiphon.state === 'listening'")


def test_both_sides_can_be_recorded_on_one_clock(ready: Page) -> None:
    connect(ready)
    ready.evaluate("fakePeer.volume.value = 0.5")
    ready.evaluate("async () => { await antiphon.recorder.start(); await new Promise(r => setTimeout(r, 700)); }")
    loudest = ready.evaluate(
        """async () => {
          const wav = Uint8Array.from(atob(await antiphon.recorder.stop()), c => c.charCodeAt(0));
          const audio = await new OfflineAudioContext(2, 1, 48000).decodeAudioData(wav.buffer);
          return [0, 1].map(side => Math.max(...audio.getChannelData(side)));
        }"""
    )
    assert loudest[1] > 0.3
    assert ready.evaluate("antiphon.recorder.stop()") is None


# ---- two relays -------------------------------------------------------------------------------------

TWO_RELAYS = """\
v=0\r
m=video 0 UDP/TLS/RTP/SAVPF 96\r
m=audio 3478 UDP/TLS/RTP/SAVPF 111\r
a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host\r
a=candidate:12 1 udp 2130705744 2001:db8::10 3478 typ host\r
a=candidate:21 1 udp 2130705488 203.0.113.20 3478 typ host\r
a=candidate:13 1 tcp 2113928784 203.0.113.10 443 typ host tcptype passive\r
a=candidate:22 1 tcp 2113928528 203.0.113.20 443 typ host tcptype passive\r
a=end-of-candidates\r
"""

KEPT_PATH = """async (answer) => {
  const { KeptPath } = await import("/static/antiphon.js");
  const asked = [];
  const added = [];
  const peer = {
    sctp: {},
    connectionState: "connected",
    received: 1,
    createDataChannel: () => ({ readyState: "open", bufferedAmount: 0, send: (text) => asked.push(text) }),
    getStats: async () => new Map([["t", { type: "transport", bytesReceived: peer.received }]]),
    addIceCandidate: async (candidate) => { added.push(candidate); },
  };
  const path = new KeptPath(peer, answer);
  const told = [];
  for (const type of ["quiet", "moved", "back"]) path.addEventListener(type, ({ detail }) => told.push([type, detail]));
  window.kept = { path, peer, asked, added, told };
}"""


def test_of_an_answer_with_two_relays_the_browser_is_given_the_first(ready: Page) -> None:
    split = ready.evaluate(
        "async (answer) => (await import('/static/antiphon.js')).splitRelays(answer)",
        TWO_RELAYS,
    )
    kept = [line for line in TWO_RELAYS.split("\r\n") if "203.0.113.20" not in line and "end-of" not in line]
    assert split["first"].split("\r\n") == kept
    second = split["relays"][1]
    assert [(each["protocol"], each["host"], each["port"], each["section"]) for each in second] == [
        ("udp", "203.0.113.20", 3478, 1),
        ("tcp", "203.0.113.20", 443, 1),
    ]


def test_an_answer_with_one_relay_is_left_as_it_is(ready: Page) -> None:
    one = "\r\n".join(line for line in TWO_RELAYS.split("\r\n") if "203.0.113.20" not in line)
    split = ready.evaluate("async (answer) => (await import('/static/antiphon.js')).splitRelays(answer)", one)
    assert split["first"] == one
    assert len(split["relays"]) == 1


def test_a_quiet_path_is_asked_and_left_when_it_does_not_answer(ready: Page) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    holds(ready, "kept.told.length === 2")
    assert ready.evaluate("kept.asked.length") >= 2
    assert ready.evaluate("kept.added.map(each => [each.candidate, each.sdpMLineIndex])") == [
        ["candidate:10 1 udp 2130710096 203.0.113.20 3478 typ host", 1],
        ["candidate:11 1 tcp 2113932624 203.0.113.20 443 typ host tcptype passive", 1],
    ]
    ready.evaluate("kept.peer.received += 100")
    holds(ready, "kept.told.length === 3")
    quiet, moved, back = ready.evaluate("kept.told")
    assert [quiet[0], moved[0], back[0]] == ["quiet", "moved", "back"]
    assert moved[1]["relay"] == "203.0.113.20:3478"
    assert moved[1]["why"] == "quiet"
    assert moved[1]["quiet_ms"] >= 400
    assert back[1]["gap_ms"] >= moved[1]["quiet_ms"]
    ready.evaluate("kept.path.close()")


def test_a_path_that_answers_is_kept(ready: Page) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate(
        "kept.asked.push = (text) => { kept.peer.received += 50; kept.answered = (kept.answered ?? 0) + 1; }"
    )
    holds(ready, "kept.answered > 10")
    assert ready.evaluate("kept.told") == []
    ready.evaluate("kept.path.close()")


def test_a_path_on_which_things_come_in_bursts_is_given_more_time_but_less_than_a_second(ready: Page) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate(
        """() => {
          kept.bursts = 0;
          kept.timer = setInterval(() => { kept.peer.received += 1; kept.bursts += 1; }, 330);
        }"""
    )
    holds(ready, "kept.bursts > 10")
    assert ready.evaluate("kept.told") == []
    ready.evaluate("clearInterval(kept.timer)")
    holds(ready, "kept.told.length === 2")
    assert ready.evaluate("kept.told[1][1].quiet_ms") > 550
    ready.evaluate("kept.path.close()")


def test_a_draining_relay_is_left_once_however_often_it_says_so(ready: Page) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate("setInterval(() => { kept.peer.received += 1; }, 20)")
    holds(ready, "performance.now() > 1500")  # past the time that a first connection is given
    until(lambda: ready.evaluate("kept.path.move('draining')"), "it moves")
    assert ready.evaluate("kept.path.move('draining')") is False
    assert [each[0] for each in ready.evaluate("kept.told")] == ["moved"]
    ready.evaluate("kept.path.close()")


REJECT = "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '%s')) }"

# ---- what goes wrong --------------------------------------------------------------------------------


def alert(page: Page) -> Any:
    return expect(page.get_by_role("alert"))


def test_a_refused_microphone_is_explained_and_typing_offered(open_page: Open) -> None:
    page = open_page(microphone=False)
    page.get_by_role("button", name="Start call").click()
    alert(page).to_contain_text("The microphone was refused. Allow it for this page")
    page.get_by_role("button", name="Call without a microphone").click()
    holds(page, "window.fakePeer?.answer")
    page.evaluate("fakePeer.become('connected'); fakePeer.open()")
    alert(page).to_have_text("")
    expect(page.get_by_label("Type instead of speaking")).to_be_enabled()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (REJECT % "NotFoundError", "No microphone was found"),
        (REJECT % "NotReadableError", "another program may hold it"),
        ("() => { Object.defineProperty(navigator, 'mediaDevices', {value: undefined}) }", "only to pages from https"),
    ],
    ids=["missing", "held", "insecure"],
)
def test_a_microphone_that_is_not_to_be_had_is_explained(ready: Page, script: str, text: str) -> None:
    ready.evaluate(script)
    ready.get_by_role("button", name="Start call").click()
    alert(ready).to_contain_text(text)
    expect(ready.get_by_role("button", name="Call without a microphone")).to_be_visible()


def test_a_server_that_is_gone_is_explained(open_page: Open, bus_url: str, parts: StandIns) -> None:
    with signaling_process(bus_url) as mortal:
        until(lambda: httpx.get(mortal.url + "/healthz").status_code == 200, "the stack is healthy")
        page = open_page(mortal.url, quiet=False)
        expect(page.get_by_label("Agent")).to_have_value("concierge")
    page.get_by_role("button", name="Start call").click()
    alert(page).to_contain_text("The server does not answer")
    expect(page.get_by_role("button", name="Call again")).to_be_enabled()


def test_a_full_server_says_so_and_when_to_come_back(open_page: Open, parts: StandIns) -> None:
    page = open_page(quiet=False)
    transceiver = parts._all[0]
    reply, transceiver.reply = transceiver.reply, Refused(code="full", message="full")
    try:
        page.get_by_role("button", name="Start call").click()
        alert(page).to_contain_text("The server can't take a call right now")
        alert(page).to_contain_text("Try again in 2 s")
    finally:
        transceiver.reply = reply


def test_an_interrupted_connection_is_shown_and_a_lost_one_ends_the_call(ready: Page) -> None:
    connect(ready)
    ready.evaluate("fakePeer.become('disconnected')")
    expect(ready.get_by_role("status")).to_contain_text("Trying to get it back")
    ready.evaluate("fakePeer.become('connected')")
    expect(ready.get_by_role("status")).to_have_text("Listening. Go ahead.")
    ready.evaluate("fakePeer.become('disconnected'); fakePeer.become('failed')")
    alert(ready).to_contain_text("The connection was lost")
    assert ready.evaluate("antiphon.problem.kind") == "dropped"


def test_a_call_that_the_server_ends_is_shown_as_ended(ready: Page) -> None:
    connect(ready)
    ready.evaluate("fakePeer.channel.dispatchEvent(new Event('close'))")
    alert(ready).to_have_text("The server ended the call.")


def test_blocked_udp_is_explained(ready: Page) -> None:
    ready.get_by_role("button", name="Start call").click()
    holds(ready, "window.fakePeer?.answer")
    ready.evaluate("fakePeer.become('failed')")
    alert(ready).to_contain_text("A firewall may block UDP")


def test_a_key_is_asked_for_and_kept_in_the_tab_only(open_page: Open, bus_url: str, parts: StandIns) -> None:
    with signaling_process(bus_url, ANTIPHON_API_KEYS="sk-0123456789abcdef") as locked:
        until(lambda: httpx.get(locked.url + "/healthz").status_code == 200, "the stack is healthy")
        page = open_page(locked.url, quiet=False)
        for given, why in (("wrong", "A key is needed"), ("sk-0123456789abcdef", "not accepted")):
            expect(page.get_by_role("dialog")).to_contain_text(why)
            page.get_by_label("API key").fill(given)
            page.keyboard.press("Enter")
        expect(page.get_by_label("Agent")).to_have_value("concierge")
        connect(page)
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        transceiver = parts._all[0]
        before = len(transceiver.hung_up)
        page.close()
        until(lambda: len(transceiver.hung_up) > before, "the key goes along with the last hang-up")


# ---- for everybody ----------------------------------------------------------------------------------


def test_everything_works_from_the_keyboard(ready: Page) -> None:
    def focused() -> str:
        return str(ready.evaluate("document.activeElement.id"))

    order = []
    for _ in range(3):
        ready.keyboard.press("Tab")
        order.append(focused())
    assert order == ["agent", "call", "scroll"]
    assert ready.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    ready.keyboard.press("Shift+Tab")
    ready.keyboard.press("Enter")
    holds(ready, "window.fakePeer?.answer")
    ready.evaluate("fakePeer.become('connected'); fakePeer.open()")
    expect(ready.get_by_role("button", name="End call")).to_be_focused()
    for _ in range(2):
        ready.keyboard.press("Tab")
    assert focused() == "text"
    ready.keyboard.type("hello")
    ready.keyboard.press("Enter")
    assert ready.evaluate("fakePeer.channel.sent.length") == 2
    ready.locator("#call").focus()
    ready.keyboard.press("Space")
    assert state(ready) == "ended"


def test_everything_has_a_name_for_a_screen_reader(ready: Page) -> None:
    snapshot = ready.locator("body").aria_snapshot()
    for named in (
        'heading "Antiphon" [level=1]',
        'combobox "Agent"',
        'button "Start call"',
        "status: Ready. Press the button and speak.",
        'heading "Conversation" [level=2]',
        'textbox "Type instead of speaking"',
        'button "Send" [disabled]',
        "term: Setup",
        "term: Answer",
    ):
        assert named in snapshot, snapshot
    assert ready.locator("html").get_attribute("lang") == "en"
    assert ready.evaluate("document.querySelectorAll('img:not([alt])').length") == 0


CONTRASTS = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour[3] === 1) return colour;
    }
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.checkVisibility() && !e.disabled)
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return [e.id || e.tagName + '.' + e.className, (a + 0.05) / (b + 0.05)];
    }).filter(([, ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    connect(page)
    page.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    page.evaluate("fakePeer.say({type: 'error', error: {message: 'something'}})")
    expect(page.get_by_role("listitem")).to_have_count(2)
    assert page.evaluate(CONTRASTS) == []


def test_a_small_screen_shows_all_without_sideways_scrolling(open_page: Open) -> None:
    page = open_page(viewport={"width": 320, "height": 640})
    connect(page)
    page.evaluate("events => fakePeer.say(...events)", CONVERSATION)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_nothing_moves_for_those_who_want_no_motion(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.getElementById('mic-level'), '::after').transitionDuration") == "0s"


def test_the_page_says_when_no_agent_is_there_and_notices_when_one_comes(open_page: Open) -> None:
    page = open_page()
    answers = iter([[], ["concierge"]])

    def agents(route: Route) -> None:
        route.fulfill(json={"agents": next(answers), "default": "concierge"})

    page.route("**/v1/agents", agents)
    page.reload()
    alert(page).to_contain_text("No agent is there yet")
    alert(page).to_have_text("")
