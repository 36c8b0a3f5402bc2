"""Our own connectivity checks: when they leave, what their answers prove, and what no answer may do."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from support.net.emulator import Conditions
from support.peers.session_call import HEADER, PASSWORD_KEY, RELAY, Call, MovingCall, StartCall

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.rtc import stun
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.ice.agent import IceLite, Path
from antiphon.transceiver.ice.own_checks import INTERVAL, MAX_OUTSTANDING, Credentials
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import RtpState, SessionState

pytestmark = pytest.mark.virtual

CLIENT = Credentials("their", "their password of 22 c")
HERE, THERE = (
    Path(tunnel.pack_header(Address("192.0.2.1", 1)), RELAY),
    Path(tunnel.pack_header(Address("::1", 2)), RELAY),
)


class Lite:
    """An agent of its own, with what it sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[Path, bytes]] = []
        self.state = SessionState("rtc_test", "a", ["ours"], [], 16000, RtpState(7, 111, 0, 0))
        self.state.remote_credentials["ours"] = CLIENT.ufrag, CLIENT.password
        self.ice = IceLite(self.state, PASSWORD_KEY, lambda path, data: self.sent.append((path, data)), lambda: None)

    def check(self, path: Path, now: float, use_candidate: bool = False) -> None:
        datagram = pack_binding_request("ours:their", ice_password(PASSWORD_KEY, "ours"), use_candidate)
        request = stun.unpack_binding_request(datagram)
        assert self.ice.check(request, datagram, Address("192.0.2.1", 1), path, now) == "taken"

    def requests(self, path: Path | None = None) -> list[bytes]:
        return [data for to, data in self.sent if data[:2] == b"\0\1" and path in (None, to)]

    def answer(self, request: bytes, path: Path, now: float, password: str = CLIENT.password) -> None:
        read = stun.unpack_binding_request(request)
        success = stun.pack_binding_success(read.transaction_id, Address("192.0.2.9", 9), password.encode())
        self.ice.answered(success, path, now)


async def test_a_check_of_ours_leaves_at_once_and_every_5_s_and_never_nominates(call: Call) -> None:
    await asyncio.sleep(30)
    assert 6 <= len(call.peer.checked) <= 8
    for datagram in call.peer.checked:
        request = stun.unpack_binding_request(datagram)
        assert request.remote_ufrag == call.session.state.ufrags[0]
        assert not request.use_candidate
        assert stun.ICE_CONTROLLED.to_bytes(2, "big") in datagram
        assert stun.ICE_CONTROLLING.to_bytes(2, "big") not in datagram
        assert call.session.state.tie_breaker.to_bytes(8, "big") in datagram
        assert datagram[-8:-4] == b"\x80\x28\0\4", "FINGERPRINT"
    assert len({datagram[8:20] for datagram in call.peer.checked}) == len(call.peer.checked)


async def test_its_answer_measures_the_round_trip_where_no_report_does(start_call: StartCall) -> None:
    call = await start_call(Conditions(delay=0.05))
    call.drop_up = lambda data: 191 < data[1] < 224 and 127 < data[0] < 192
    call.session.sender.round_trip_ms = None
    await asyncio.sleep(6)
    measured = call.session.statistics().round_trip_ms
    assert measured is not None
    assert 100 <= measured < 130


async def test_a_client_that_answers_no_check_or_with_an_error_keeps_its_call(call: Call) -> None:
    call.peer.answers_checks = False
    await asyncio.sleep(60)
    refused = 0
    for datagram in call.peer.checked[-3:]:
        call.registry.receive(HEADER + stun.pack_binding_error(datagram[8:20], 487), RELAY, call.loop.time(), 0)
    refused = call.session.statistics().checks_refused
    await asyncio.sleep(40)
    assert call.ended is None
    assert refused == 3
    assert len(call.peer.checked) >= 100 / INTERVAL - 1


async def test_answers_keep_a_call_whose_client_sends_nothing_else(call: Call) -> None:
    call.drop_up = lambda data: data[:2] != b"\1\1"
    await asyncio.sleep(60)
    assert call.ended is None
    call.peer.answers_checks = False
    await asyncio.sleep(36)
    assert call.ended == "client_vanished"


async def test_the_process_that_takes_over_goes_on_with_the_same_credentials(call: Call) -> None:
    tie_breaker = call.session.state.tie_breaker
    state = SessionState.from_bytes(call.session.export(call.loop.time()))
    old = call.session
    old.detach()
    call.registry.remove(old)
    now = call.loop.time()
    call.session = Session(state, None, PASSWORD_KEY, old.dtls_client, call, now, call.wheel.add, call.wheel.remove)
    call.registry.add(call.session)
    call.session.restore(now)
    call.session.resume(now)
    call.registry.adopt(call.session)
    before = len(call.peer.checked)
    await asyncio.sleep(11)
    assert len(call.peer.checked) >= before + 2
    assert tie_breaker.to_bytes(8, "big") in call.peer.checked[-1]


async def test_after_an_ice_restart_the_new_credentials_are_used_once_the_client_uses_them(call: Call) -> None:
    new = "restarted"
    call.registry.restart_ice(call.session, new, Credentials("newufrag", "new password of 22 char"))
    call.drop_up = lambda data: data[:2] == b"\0\1"
    await asyncio.sleep(6)
    assert stun.unpack_binding_request(call.peer.checked[-1]).local_ufrag != "newufrag", "not before it has checked"
    call.drop_up = lambda data: False
    call.peer.answer.ufrag, call.peer.answer.password = new, ice_password(PASSWORD_KEY, new)
    call.peer.answers_checks = False
    seen: list[bytes] = []

    def noted(data: bytes) -> bool:
        if data[:2] == b"\0\1":
            seen.append(data)
        return data[:2] == b"\0\1"

    call.drop_down = noted
    await asyncio.sleep(12)
    request = stun.unpack_binding_request(seen[-1])
    assert (request.local_ufrag, request.remote_ufrag) == ("newufrag", new)
    assert stun.is_authentic(seen[-1], request, b"new password of 22 char")
    assert list(call.session.state.remote_credentials) == [new], "of one that is replaced none is kept"


async def test_a_state_written_without_the_client_s_credentials_asks_nothing(call: Call) -> None:
    fields = dataclasses.asdict(call.session.state)
    assert SessionState(**{name: fields[name] for name in fields if name not in ("remote_credentials", "tie_breaker")})
    call.session.state.remote_credentials.clear()
    before = len(call.peer.checked)
    await asyncio.sleep(11)
    assert len(call.peer.checked) == before
    assert call.ended is None


# ---- what an answer proves -------------------------------------------------------------------------------


def test_the_first_path_that_is_one_way_is_left_for_the_one_that_was_checked_last() -> None:
    """Our answers on it are lost; the client checks another and never nominates."""
    lite = Lite()
    lite.check(HERE, 0)
    assert lite.ice.path == HERE
    lite.check(THERE, 1)
    assert lite.ice.path == THERE
    lite.answer(lite.requests(THERE)[0], THERE, 1.1)
    assert not lite.ice.limited
    lite.check(HERE, 2)
    assert lite.ice.path == THERE, "it works both ways: only nomination or media leaves it"
    lite.check(HERE, 3, use_candidate=True)
    assert lite.ice.path == HERE


def test_a_nominated_path_is_not_left_for_a_later_check() -> None:
    lite = Lite()
    lite.check(HERE, 0, use_candidate=True)
    lite.check(THERE, 1)
    assert lite.ice.path == HERE


def test_no_other_answer_proves_an_address() -> None:
    lite = Lite()
    lite.check(HERE, 0)
    request = lite.requests()[0]
    lite.answer(request, THERE, 1)
    lite.answer(request, HERE, 1, "guess")
    lite.answer(request[:8] + bytes(12) + request[20:], HERE, 1)
    lite.answer(request, HERE, 41)
    lite.ice.answered(b"\1\1\0\0" + request[4:20], HERE, 1)
    lite.ice.answered(stun.pack_binding_error(request[8:20], 487), HERE, 1)
    lite.answer(request, HERE, 2)
    assert lite.ice.limited
    assert lite.ice.round_trip_ms is None
    assert lite.ice.last_received == 0
    assert lite.ice.own_refused == 1


def test_an_answer_that_comes_twice_counts_once() -> None:
    lite = Lite()
    lite.check(HERE, 0)
    lite.answer(lite.requests()[0], HERE, 0.2)
    lite.answer(lite.requests()[0], HERE, 7)
    assert lite.ice.round_trip_ms == 200
    assert lite.ice.last_received == 0.2


def test_an_address_that_is_not_proved_gets_no_check_beyond_what_came_from_it() -> None:
    lite = Lite()
    lite.check(HERE, 0)
    lite.ice.shook_hands(HERE, 0)  # from now on nothing is given in advance
    sent = len(lite.sent)
    lite.check(THERE, 1, use_candidate=True)
    for tenth in range(600):
        lite.ice.ask(1 + tenth / 10)
    octets = sum(len(data) for path, data in lite.sent[sent:] if path == THERE)
    assert octets <= len(pack_binding_request("ours:their", "x" * 22, use_candidate=True))
    for second in range(4):
        lite.check(THERE, 70 + second, use_candidate=True)
    assert len(lite.requests(THERE)) == 1, "four checks pay for four answers and one of ours"


def test_checks_are_few_however_often_the_path_changes_and_few_are_outstanding() -> None:
    lite = Lite()
    for number in range(500):
        lite.check(HERE if number % 2 else THERE, number / 100, use_candidate=True)
    requests = lite.requests()
    assert len(requests) <= 8 + 4 * 5 + 1
    old = requests[-1 - MAX_OUTSTANDING]
    lite.answer(old, next(to for to, data in lite.sent if data == old), 5)
    assert lite.ice.round_trip_ms is None


async def test_a_client_that_moves_and_sends_nothing_but_checks_is_proved_by_its_answer() -> None:
    call = MovingCall()
    await call.connect()
    call.peer.unplug_microphone()
    call.drop_up = lambda data: data[0] > 3
    moved = tunnel.pack_header(Address("192.0.2.77", 7000))
    call.header = moved
    for _ in range(4):
        call.peer.check()
    await asyncio.sleep(1)
    assert call.session.ice.path == Path(moved, RELAY)
    assert not call.session.ice.limited
    assert call.session.state.path_header == moved
    await call.stop()
