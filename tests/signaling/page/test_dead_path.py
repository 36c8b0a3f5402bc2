"""`KeptPath` of antiphon.js when a path is dead: it asks for ICE restarts until one works, or the call is over.

It runs in node; the clock and the answers of the server are the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browsers.virtual_page import VirtualPage, virtual_page

import antiphon.signaling.http.static_files as files

pytestmark = pytest.mark.process

ONE_RELAY = """\
v=0\r
m=audio 3478 UDP/TLS/RTP/SAVPF 111\r
a=candidate:11 1 udp 2130706000 203.0.113.10 3478 typ host\r
a=candidate:12 1 tcp 2113928784 203.0.113.10 443 typ host tcptype passive\r
a=end-of-candidates\r
"""
TWO_RELAYS = ONE_RELAY.replace("a=end", "a=candidate:21 1 udp 2130705488 203.0.113.20 3478 typ host\r\na=end")

LIVING_PATH = """async ([answer, module]) => {
  const { KeptPath } = await import(module);
  const did = [];
  let offersBefore = null;
  const peer = (globalThis.peer = {
    sctp: {}, connectionState: "connected", signalingState: "stable",
    dead: false, received: 1, offers: 0, refuses: false,
    createDataChannel: () => ({ readyState: "open", bufferedAmount: 0, send: () => {} }),
    getStats: async () => {
      if (!peer.dead) peer.received += 500;
      return new Map([
        ["t", { type: "transport", bytesReceived: peer.received, selectedCandidatePairId: "p" }],
        ["p", { type: "candidate-pair", remoteCandidateId: "c", currentRoundTripTime: 0.05 }],
        ["c", { type: "remote-candidate", address: "203.0.113.10", port: 3478, protocol: "udp" }],
      ]);
    },
    // One after the other, as in a browser: what is asked for later waits for a slow offer.
    addIceCandidate: async ({ candidate }) => { offersBefore ??= peer.offers; did.push(candidate); },
    createOffer: async () => ({ type: "offer", sdp: `offer ${++peer.offers}` }),
    setLocalDescription: async ({ type, sdp }) => { did.push(sdp ?? type); },
    setRemoteDescription: async ({ sdp }) => {
      if (peer.refuses) throw new Error("no");
      did.push(sdp);
    },
  });
  const posts = (globalThis.posts = []);
  globalThis.at_once = null; // the status with which the server refuses, as long as it is set
  const reoffer = (sdp) => new Promise((resolve, reject) => {
    posts.push({ sdp, resolve, reject });
    if (at_once !== null) fail(posts.length - 1, at_once);
  });
  const fail = (n, status, more = {}) => posts[n].reject(Object.assign(new Error("no"), { status, ...more }));
  globalThis.status = null;
  const path = new KeptPath(peer, answer, { reoffer, steering: false, status: async () => status });
  const told = [];
  for (const type of ["quiet", "moved", "restart", "back", "gone"]) {
    path.addEventListener(type, ({ detail }) => told.push([type, detail?.state ?? detail?.why ?? detail]));
  }
  globalThis.kept = { path, did, told, fail, offersBefore: () => offersBefore };
}"""


@pytest.fixture(scope="module")
def node() -> Iterator[VirtualPage]:
    with virtual_page() as page:
        yield page


@pytest.fixture
def page(node: VirtualPage) -> Iterator[VirtualPage]:
    yield node
    node.evaluate("forget()")


def call(page: VirtualPage, answer: str = ONE_RELAY) -> None:
    begin(page, answer)
    page.advance(1500)
    assert told(page) == []


def begin(page: VirtualPage, answer: str) -> None:
    page.evaluate(LIVING_PATH, [answer, (files.STATIC / "kept_path.js").resolve().as_uri()])


def die(page: VirtualPage) -> None:
    page.evaluate("peer.dead = true")
    page.advance(600)


def told(page: VirtualPage) -> list[list[Any]]:
    events: list[list[Any]] = page.evaluate("JSON.parse(JSON.stringify(kept.told))")
    return events


def posts(page: VirtualPage) -> list[str]:
    sent: list[str] = page.evaluate("posts.map(({ sdp }) => sdp)")
    return sent


def candidates(sdp: str) -> list[str]:
    return [" ".join(line.split()[2:6]) for line in sdp.split("\r\n") if line.startswith("a=candidate")]


def test_a_dead_path_restarts_ice_at_the_server_towards_all_that_its_answer_has(page: VirtualPage) -> None:
    call(page)
    die(page)
    assert posts(page) == ["offer 1"]
    assert page.evaluate("kept.did") == [], "nothing is changed before the answer is there"
    page.evaluate("answer => posts[0].resolve({ answer, regions: ['near', 'far'] })", TWO_RELAYS)
    assert page.evaluate("kept.did.length === 2")
    offer, answer = page.evaluate("kept.did")
    assert offer == "offer 1"
    # TCP is below UDP, and above every candidate before: Chromium goes there at once where UDP is dead.
    assert candidates(answer) == [
        f"udp {1_000_000_000 + 2 * 4096} 203.0.113.10 3478",
        f"udp {1_000_000_000 + 2 * 4096 - 256} 203.0.113.20 3478",
        f"tcp {1_000_000_000 + 2 * 4096 - 512} 203.0.113.10 443",
    ]
    page.evaluate("peer.dead = false")
    page.advance(3000)
    assert [name if name == "back" else [name, what] for name, what in told(page) if name != "quiet"] == [
        ["restart", "asked"],
        ["moved", "quiet"],
        ["restart", "done"],
        "back",
    ]
    assert len(posts(page)) == 1


def test_with_a_second_relay_it_is_added_at_once_and_the_server_asked_beside(page: VirtualPage) -> None:
    call(page, TWO_RELAYS)
    die(page)
    assert posts(page) == ["offer 1"]
    assert [each.split()[4] for each in page.evaluate("kept.did")] == ["203.0.113.20"]
    assert page.evaluate("kept.offersBefore()") == 0, "the browser is told of the relay before it makes the offer"


def test_two_restarts_never_overlap_and_a_relay_that_drains_waits(page: VirtualPage) -> None:
    call(page, TWO_RELAYS)
    die(page)
    page.advance(2000)
    # One request more, in case that the first went by a connection that died with the path; of the same offer.
    assert posts(page) == ["offer 1", "offer 1"]
    assert page.evaluate("kept.path.move('draining')") is False
    page.evaluate("answer => posts[1].resolve(answer)", TWO_RELAYS)
    assert page.evaluate("kept.did.includes('offer 1')")
    page.evaluate("answer => posts[0].resolve(answer)", TWO_RELAYS)
    page.advance(200)
    assert page.evaluate("kept.did.filter((each) => each === 'offer 1').length") == 1


def test_a_relay_move_under_way_at_the_server_gives_way_to_a_dead_path(page: VirtualPage) -> None:
    call(page, TWO_RELAYS)
    page.evaluate("kept.path.move('asked')")  # adds the other relay
    page.advance(2000)
    page.evaluate("kept.path.move('asked')")  # back to the first one: by the server
    assert posts(page) == ["offer 1"]
    die(page)
    page.advance(1000)  # a move is given a second
    assert set(posts(page)) == {"offer 1"}
    page.evaluate("answer => posts[0].resolve(answer)", TWO_RELAYS)
    assert page.evaluate("kept.did.includes('offer 1')")
    (answer,) = [each for each in page.evaluate("kept.did") if each.startswith("v=0")]
    assert {each.split()[2] for each in candidates(answer)} == {"203.0.113.10", "203.0.113.20"}


def test_without_a_network_it_is_asked_again_and_at_once_when_the_network_is_back(page: VirtualPage) -> None:
    call(page)
    page.evaluate("at_once = 0")
    die(page)
    page.advance(12_000)
    before = len(posts(page))
    assert 5 < before < 12
    page.advance(1500)  # in the midst of a wait of 3 s, give or take a quarter
    before = len(posts(page))
    page.evaluate("at_once = null; dispatchEvent(new Event('online'))")
    page.advance(10)
    assert len(posts(page)) == before + 1
    assert set(posts(page)) == {"offer 1"}
    page.evaluate("answer => posts.at(-1).resolve(answer)", ONE_RELAY)
    assert page.evaluate("kept.did.includes('offer 1')")


def test_a_path_that_comes_back_by_itself_ends_the_asking(page: VirtualPage) -> None:
    call(page)
    page.evaluate("at_once = 503")
    die(page)
    page.evaluate("peer.dead = false")
    page.advance(1000)
    before = len(posts(page))
    page.advance(20_000)
    assert len(posts(page)) == before


def test_a_call_that_has_ended_is_told_once_and_not_asked_for_any_more(page: VirtualPage) -> None:
    call(page)
    die(page)
    page.evaluate("globalThis.status = { status: 'ended', cause: 'client' }; kept.fail(0, 404)")
    page.advance(20_000)
    assert len(posts(page)) == 1
    assert [what for name, what in told(page) if name == "gone"] == [{"status": "ended", "cause": "client"}]


def test_a_call_that_another_transceiver_takes_over_meanwhile_goes_on(page: VirtualPage) -> None:
    call(page)
    page.evaluate("at_once = 404; globalThis.status = { status: 'unknown' }")
    die(page)
    page.advance(3000)
    assert len(posts(page)) > 2
    page.evaluate("at_once = null")
    page.advance(3000)
    page.evaluate("answer => posts.at(-1).resolve(answer)", ONE_RELAY)
    assert page.evaluate("kept.told.some(([, what]) => what === 'done')")
    assert "gone" not in [name for name, _ in told(page)]


def test_a_laptop_that_has_slept_longer_than_the_server_waits_takes_its_first_word(page: VirtualPage) -> None:
    call(page)
    page.evaluate("at_once = 404; globalThis.status = { status: 'unknown' }; peer.dead = true; sleep(60000)")
    page.advance(1500)
    assert [what for name, what in told(page) if name == "gone"] == [None]
    assert len(posts(page)) == 1


def test_a_page_in_the_background_that_looks_once_a_second_restarts_too(page: VirtualPage) -> None:
    call(page)
    page.evaluate("peer.dead = true")
    for _ in range(4):
        page.evaluate("sleep(950)")
        page.advance(50)
    assert set(posts(page)) == {"offer 1"}


def test_a_refused_restart_is_not_repeated(page: VirtualPage) -> None:
    call(page)
    die(page)
    page.evaluate("kept.fail(0, 403)")
    page.advance(20_000)
    assert len(posts(page)) == 1
    assert ["restart", "refused"] in told(page)


def test_an_answer_that_the_browser_does_not_take_is_rolled_back_and_asked_for_anew(page: VirtualPage) -> None:
    call(page)
    die(page)
    page.evaluate("answer => { peer.refuses = true; posts[0].resolve(answer); }", ONE_RELAY)
    assert page.evaluate("kept.did.includes('rollback')")
    page.advance(500)
    assert posts(page) == ["offer 1", "offer 2"]


def test_a_call_that_is_being_set_up_is_not_restarted(page: VirtualPage) -> None:
    begin(page, ONE_RELAY)
    page.evaluate("peer.dead = true; peer.received = 0")
    page.advance(10_000)
    assert posts(page) == []
