"""`KeptPath` of antiphon.js: which relay a call goes through, and when it is left for another one.

It runs in node and in virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.browsers.virtual_page import VirtualPage, virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

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


def lowered(line: str) -> str:
    """As the browser gets it: below the priorities of its own candidates, in the same order."""
    words = line.split(" ")
    if line.startswith("a=candidate"):
        words[3] = str(int(words[3]) - 2130706000 + 1_000_000_000)
    return " ".join(words)


@pytest.fixture(scope="module")
def node() -> Iterator[VirtualPage]:
    with virtual_page() as page:
        page.evaluate("module => { globalThis.MODULE = module; }", (files.STATIC / "antiphon.js").resolve().as_uri())
        yield page


@pytest.fixture
def ready(node: VirtualPage) -> Iterator[VirtualPage]:
    yield node
    node.evaluate("forget()")


KEPT_PATH = """async (answer) => {
  const { KeptPath } = await import(MODULE);
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
  globalThis.kept = { path, peer, asked, added, told };
}"""


def test_of_an_answer_with_two_relays_the_browser_is_given_the_first(ready: VirtualPage) -> None:
    split = ready.evaluate(
        "async (answer) => (await import(MODULE)).splitRelays(answer)",
        TWO_RELAYS,
    )
    kept = [line for line in TWO_RELAYS.split("\r\n") if "203.0.113.20" not in line and "end-of" not in line]
    assert split["first"].split("\r\n") == [lowered(line) for line in kept]
    second = split["relays"][1]
    assert [(each["protocol"], each["host"], each["port"], each["section"]) for each in second] == [
        ("udp", "203.0.113.20", 3478, 1),
        ("tcp", "203.0.113.20", 443, 1),
    ]


def test_an_answer_with_one_relay_keeps_its_candidates(ready: VirtualPage) -> None:
    one = "\r\n".join(line for line in TWO_RELAYS.split("\r\n") if "203.0.113.20" not in line)
    split = ready.evaluate("async (answer) => (await import(MODULE)).splitRelays(answer)", one)
    assert split["first"] == "\r\n".join(map(lowered, one.split("\r\n")))
    assert len(split["relays"]) == 1


def test_a_quiet_path_is_asked_and_left_when_it_does_not_answer(ready: VirtualPage) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.advance_until("kept.told.length === 2")
    assert ready.evaluate("kept.asked.length") >= 2
    assert ready.evaluate("kept.added.map(each => [each.candidate, each.sdpMLineIndex])") == [
        ["candidate:10 1 udp 1000004096 203.0.113.20 3478 typ host", 1],
        ["candidate:11 1 tcp 1000003840 203.0.113.20 443 typ host tcptype passive", 1],
    ]
    ready.evaluate("kept.peer.received += 100")
    ready.advance_until("kept.told.length === 3")
    quiet, moved, back = ready.evaluate("kept.told")
    assert [quiet[0], moved[0], back[0]] == ["quiet", "moved", "back"]
    assert moved[1]["relay"] == "203.0.113.20:3478"
    assert moved[1]["why"] == "quiet"
    assert moved[1]["quiet_ms"] >= 400
    assert back[1]["gap_ms"] >= moved[1]["quiet_ms"]
    ready.evaluate("kept.path.close()")


def test_a_path_that_answers_is_kept(ready: VirtualPage) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate(
        "kept.asked.push = (text) => { kept.peer.received += 50; kept.answered = (kept.answered ?? 0) + 1; }"
    )
    ready.advance(4000)
    assert ready.evaluate("kept.answered") > 10
    assert ready.evaluate("kept.told") == []
    ready.evaluate("kept.path.close()")


def test_a_path_on_which_things_come_in_bursts_is_given_more_time_but_less_than_a_second(ready: VirtualPage) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate(
        """() => {
          kept.bursts = 0;
          kept.timer = setInterval(() => { kept.peer.received += 1; kept.bursts += 1; }, 330);
        }"""
    )
    ready.advance(4000)
    assert ready.evaluate("kept.bursts") > 10
    assert ready.evaluate("kept.told") == []
    ready.evaluate("clearInterval(kept.timer)")
    ready.advance(900)
    assert ready.evaluate("kept.told.length") == 2
    # Twice the usual quiet, which shrinks meanwhile; a path without bursts is left at the first look after 400 ms.
    assert ready.evaluate("kept.told[1][1].quiet_ms") > 450
    ready.evaluate("kept.path.close()")


def test_a_draining_relay_is_left_once_however_often_it_says_so(ready: VirtualPage) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate("setInterval(() => { kept.peer.received += 1; }, 20)")
    ready.advance(1500)  # past the time that a first connection is given
    assert ready.evaluate("kept.path.move('draining')")
    assert ready.evaluate("kept.path.move('draining')") is False
    assert [each[0] for each in ready.evaluate("kept.told")] == ["moved"]
    ready.evaluate("kept.path.close()")


# ---- steering: the page's clock is the test's ------------------------------------------------------------------------

ONE_PRIORITY = TWO_RELAYS.replace("2130705488 203.0.113.20", "2130706000 203.0.113.20")

STEERED_PATH = """async ([answer, options]) => {
  const { KeptPath } = await import(MODULE);
  const did = [];
  const peer = {
    sctp: {}, connectionState: "connected", signalingState: "stable",
    received: 1, sent: 0, lost: 0, host: options.host ?? "203.0.113.10", loss: 0,
    createDataChannel: () => ({ readyState: "open", bufferedAmount: 0, send: () => {} }),
    getStats: async () => {
      peer.received += 500;
      peer.sent += 5;
      peer.lost += 5 * peer.loss;
      return new Map([
        ["t", { type: "transport", bytesReceived: peer.received, selectedCandidatePairId: "p" }],
        ["p", { type: "candidate-pair", remoteCandidateId: "c", currentRoundTripTime: 0.05 }],
        ["c", { type: "remote-candidate", address: peer.host, port: 3478, protocol: "udp" }],
        ["o", { type: "outbound-rtp", kind: "audio", ssrc: 1, packetsSent: peer.sent }],
        ["r", { type: "remote-inbound-rtp", kind: "audio", packetsLost: Math.floor(peer.lost), jitter: 0.001 }],
      ]);
    },
    addIceCandidate: async ({ candidate }) => { did.push(candidate); },
    createOffer: async (wanted) => ({ type: "offer", sdp: `offer ${wanted.iceRestart}` }),
    setLocalDescription: async ({ sdp }) => { did.push(sdp); },
    setRemoteDescription: async ({ sdp }) => { did.push(sdp); },
  };
  const answers = (globalThis.answers = []);
  const reoffer = async (sdp) => { did.push(`posted ${sdp}`); return new Promise((...all) => answers.push(all)); };
  const path = new KeptPath(peer, answer, { reoffer, regions: ["near", "far"], ...options });
  const told = [];
  for (const type of ["quiet", "moved", "path"]) {
    path.addEventListener(type, ({ detail }) => told.push({ type, ...detail }));
  }
  globalThis.kept = { path, peer, did, told };
}"""


@pytest.fixture
def steered(ready: VirtualPage) -> VirtualPage:
    return ready


def let_pass(page: VirtualPage, milliseconds: int) -> None:
    """In small steps: what a look waits for is done between two of them, and a long leap would be a page that slept."""
    for _ in range(milliseconds // 500):
        page.advance(500)


def told(page: VirtualPage) -> list[str]:
    events = page.evaluate("kept.told")
    return [f"{each['type']} {each.get('state') or each['why']} {each['relay']}" for each in events]


NEAR, FAR = "203.0.113.10:3478", "203.0.113.20:3478"


def try_the_other(page: VirtualPage, answer: str = TWO_RELAYS) -> None:
    page.evaluate(STEERED_PATH, [answer, {}])
    let_pass(page, 3000)
    page.evaluate("kept.peer.loss = 0.1")
    let_pass(page, 6500)
    assert told(page) == [f"path used {NEAR}", f"path try {FAR}", f"moved loss {FAR}"]


def test_a_bad_path_is_left_and_when_the_other_is_no_better_the_call_goes_back_by_an_ice_restart(
    steered: VirtualPage,
) -> None:
    try_the_other(steered)
    assert steered.evaluate("kept.told[1].region") == "far"
    assert steered.evaluate("kept.told[1].measured.loss") > 0.04
    assert steered.evaluate("kept.did") == [
        "candidate:10 1 udp 1000004096 203.0.113.20 3478 typ host",
        "candidate:11 1 tcp 1000003840 203.0.113.20 443 typ host tcptype passive",
    ]
    steered.evaluate("kept.peer.host = '203.0.113.20'")
    let_pass(steered, 7500)
    assert told(steered)[3:] == [f"path used {FAR}", f"path back {NEAR}", f"moved not_better {NEAR}"]
    assert steered.evaluate("kept.did.slice(2)") == ["posted offer true"]
    steered.evaluate("answer => answers[0][0](answer)", TWO_RELAYS.replace("v=0", "v=0 restarted"))
    steered.advance_until("kept.did.length === 5")
    offer, answer = steered.evaluate("kept.did.slice(3)")
    assert offer == "offer true"
    # Above all candidates before: Chromium compares priorities first, and only then which of two is newer.
    assert answer.startswith("v=0 restarted")
    assert [line for line in answer.split("\r\n") if "candidate" in line] == [
        "a=candidate:20 1 udp 1000008192 203.0.113.10 3478 typ host",
        "a=candidate:21 1 udp 1000007936 2001:db8::10 3478 typ host",
        "a=candidate:22 1 tcp 1000007680 203.0.113.10 443 typ host tcptype passive",
        "a=end-of-candidates",
    ]
    steered.evaluate("kept.path.close()")


def test_a_way_back_that_the_server_does_not_open_leaves_the_call_where_it_is(steered: VirtualPage) -> None:
    try_the_other(steered)
    steered.evaluate("kept.peer.host = '203.0.113.20'")
    let_pass(steered, 7500)
    steered.evaluate("answers[0][1](new Error('503'))")
    steered.advance_until("kept.did.length > 3")
    assert not [each for each in steered.evaluate("kept.did") if each.startswith(("v=0", "offer"))]
    let_pass(steered, 55_000)
    assert told(steered)[-1] == f"moved not_better {NEAR}"
    let_pass(steered, 8000)
    assert f"moved loss {NEAR}" in told(steered)
    steered.evaluate("kept.path.close()")


def test_a_call_that_ends_while_the_server_is_asked_is_not_touched_any_more(steered: VirtualPage) -> None:
    try_the_other(steered)
    steered.evaluate("kept.peer.host = '203.0.113.20'")
    let_pass(steered, 7500)
    steered.evaluate("kept.path.close()")
    before = steered.evaluate("kept.did.length")
    steered.evaluate("answer => answers[0][0](answer)", TWO_RELAYS)
    let_pass(steered, 20_000)
    assert steered.evaluate("kept.did.length") == before


def test_a_relay_that_drains_while_it_is_tried_is_left_and_the_try_is_over(steered: VirtualPage) -> None:
    try_the_other(steered)
    steered.evaluate("kept.peer.host = '203.0.113.20'")
    let_pass(steered, 1500)
    assert steered.evaluate("kept.path.move('draining')")
    steered.evaluate("kept.peer.host = '203.0.113.10'")
    let_pass(steered, 30_000)
    assert told(steered)[3:] == [f"path used {FAR}", f"moved draining {NEAR}", f"path used {NEAR}"]
    steered.evaluate("kept.path.close()")


def test_a_path_by_which_packets_come_but_none_goes_is_left(steered: VirtualPage) -> None:
    steered.evaluate(STEERED_PATH, [TWO_RELAYS, {"steering": False}])
    let_pass(steered, 3000)
    steered.evaluate("kept.peer.connectionState = 'disconnected'")
    let_pass(steered, 3000)
    assert told(steered)[1:] == [f"moved one_way {FAR}"]
    steered.evaluate("kept.path.close()")


def test_without_steering_a_bad_path_is_kept(steered: VirtualPage) -> None:
    steered.evaluate(STEERED_PATH, [TWO_RELAYS, {"steering": False}])
    steered.evaluate("kept.peer.loss = 0.5")
    let_pass(steered, 30_000)
    assert told(steered) == [f"path used {NEAR}"]
    steered.evaluate("kept.path.close()")


def test_relays_of_equal_priority_are_given_to_the_browser_and_left_by_an_ice_restart(steered: VirtualPage) -> None:
    split = steered.evaluate("async (answer) => (await import(MODULE)).splitRelays(answer)", ONE_PRIORITY)
    assert split["first"] == "\r\n".join(map(lowered, ONE_PRIORITY.split("\r\n")))
    assert split["given"] == 2
    steered.evaluate(STEERED_PATH, [ONE_PRIORITY, {"host": "203.0.113.20"}])  # at its first look
    let_pass(steered, 3000)
    assert told(steered) == [f"path used {FAR}"]
    steered.evaluate("kept.path.move('asked')")
    assert steered.evaluate("kept.did") == ["posted offer true"]
    # Relays come and go in a long call: the one to move to is not announced any more, another one is.
    fresh = ONE_PRIORITY.replace("203.0.113.10", "203.0.113.30")
    steered.evaluate("answer => answers[0][0](answer)", fresh)
    steered.advance_until("kept.did.length === 3")
    lines = steered.evaluate("kept.did[2]").split("\r\n")
    assert [line.split()[4] for line in lines if line.startswith("a=candidate")] == [
        "203.0.113.30",
        "2001:db8::10",
        "203.0.113.30",
    ]
    steered.evaluate("kept.path.close()")
