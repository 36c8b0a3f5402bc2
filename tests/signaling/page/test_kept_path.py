"""`KeptPath` of antiphon.js: which relay a call goes through, and when it is left for another one."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page
from support.browsers.page import holds
from support.processes.signaling import until

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
    # Twice the usual quiet, which shrinks meanwhile; a path without bursts is left at the first look after 400 ms.
    assert ready.evaluate("kept.told[1][1].quiet_ms") > 450
    ready.evaluate("kept.path.close()")


def test_a_draining_relay_is_left_once_however_often_it_says_so(ready: Page) -> None:
    ready.evaluate(KEPT_PATH, TWO_RELAYS)
    ready.evaluate("setInterval(() => { kept.peer.received += 1; }, 20)")
    holds(ready, "performance.now() > 1500")  # past the time that a first connection is given
    until(lambda: ready.evaluate("kept.path.move('draining')"), "it moves")
    assert ready.evaluate("kept.path.move('draining')") is False
    assert [each[0] for each in ready.evaluate("kept.told")] == ["moved"]
    ready.evaluate("kept.path.close()")
