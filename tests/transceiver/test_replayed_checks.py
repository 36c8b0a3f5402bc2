"""A connectivity check that was overheard: sent again from anywhere it moves nothing, and draws no more than it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.models.sounds import speech, tone
from support.peers.session_call import HEADER, PASSWORD_KEY, RELAY, Call

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.schemas import messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.transceiver.ice.agent import HANDSHAKE_CREDIT, Path
from antiphon.transceiver.ice.seen_checks import FILTER_CHECKS, MAX_REPEATS, SeenChecks
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState

pytestmark = pytest.mark.virtual


def address(number: int) -> bytes:
    return tunnel.pack_header(Address("198.51.100.7", 7000 + number))


class Overheard(Call):
    """A call of which an observer records the checks, and that may send to any address."""

    def __init__(self) -> None:
        self.checks: list[bytes] = []
        self.sent_to: dict[bytes, list[bytes]] = {}
        super().__init__()

    def _to_session(self, data: bytes) -> None:
        if data[:2] == b"\0\1":
            self.checks.append(data)
        super()._to_session(data)

    def datagram(self, path: Path, data: bytes) -> None:
        self.sent_to.setdefault(path.header, []).append(data)
        if path.header == self.header:
            super().datagram(Path(self.header, RELAY), data)

    def arrives(self, header: bytes, data: bytes, relay: tuple[str, int] = RELAY) -> None:
        self.registry.receive(header + data, relay, self.loop.time(), 0)

    def fresh_check(self, use_candidate: bool = True) -> bytes:
        answer = self.peer.answer
        return pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=use_candidate)

    def octets_to(self, header: bytes) -> int:
        return sum(map(len, self.sent_to.get(header, ())))

    def take_over(self) -> None:
        """The process dies; another one continues from the last checkpoint."""
        state = SessionState.from_bytes(self.session.export(self.loop.time()))
        old = self.session
        old.detach()
        self.registry.remove(old)
        now = self.loop.time()
        self.session = Session(state, None, PASSWORD_KEY, old.dtls_client, self, now, self.wheel.add, self.wheel.remove)
        self.registry.add(self.session)
        self.session.restore(now)
        self.session.resume(now)
        self.registry.adopt(self.session)


@pytest.fixture
async def overheard() -> AsyncIterator[Overheard]:
    call = Overheard()
    await call.connect()
    for frame in speech(20):
        call.session.speak(frame, call.loop.time())
    call.peer.speak(tone(60))
    yield call
    await call.stop()


async def test_a_check_that_was_overheard_is_of_no_use_elsewhere(overheard: Overheard) -> None:
    call, before = overheard, len(overheard.sent_to[HEADER])
    for round_ in range(500):  # 2 s: every 4 ms, from 40 addresses, all checks that there were
        for check in call.checks[-3:] + call.checks[:1]:
            call.arrives(address(round_ % 40), check)
        await asyncio.sleep(0.004)
    assert list(call.sent_to) == [HEADER], "an observer got something"
    assert len(call.sent_to[HEADER]) - before > 2 * 45
    assert call.session.ice.headers == (HEADER,)
    assert call.session.statistics().checks_replayed >= 1500
    moved = address(99)  # and the caller's own move is answered at once
    call.arrives(moved, call.fresh_check())
    assert call.session.ice.path == Path(moved, RELAY)
    assert len(call.sent_to[moved]) == 1


async def test_the_first_check_of_a_call_is_of_no_use_at_its_end_nor_after_a_takeover(overheard: Overheard) -> None:
    first = overheard.checks[0]
    await asyncio.sleep(50)
    overheard.arrives(HEADER, first)
    overheard.arrives(address(1), first)
    overheard.take_over()
    replayed = overheard.session.statistics().checks_replayed
    for check in overheard.checks:
        overheard.arrives(address(2), check)
    assert overheard.session.statistics().checks_replayed == replayed + len(overheard.checks)
    assert set(overheard.sent_to) == {HEADER}
    assert overheard.session.ice.path == Path(HEADER, RELAY)


async def test_a_repetition_from_the_same_address_is_answered_for_40_s(overheard: Overheard) -> None:
    check = overheard.fresh_check()

    def answers() -> int:
        return sum(data[8:20] == check[8:20] for data in overheard.sent_to[HEADER])

    for at, expected in ((0, 1), (0.5, 2), (38.5, 3), (2, 3)):  # 0, 0.5, 39 and 41 s after the first
        await asyncio.sleep(at)
        overheard.arrives(HEADER, check)
        assert answers() == expected
    again = overheard.fresh_check()
    for _ in range(MAX_REPEATS + 5):
        overheard.arrives(HEADER, again)
    assert sum(data[8:20] == again[8:20] for data in overheard.sent_to[HEADER]) == MAX_REPEATS


async def test_a_repetition_by_another_relay_is_answered_there_and_moves_nothing(overheard: Overheard) -> None:
    check, other = overheard.fresh_check(), ("127.0.0.1", 4001)
    overheard.arrives(HEADER, check)
    before = len(overheard.sent_to[HEADER])
    overheard.arrives(HEADER, check, other)
    assert overheard.session.ice.path == Path(HEADER, RELAY)
    assert [data[8:20] for data in overheard.sent_to[HEADER][before:]] == [check[8:20]]


async def test_a_forged_source_gets_no_more_bytes_than_it_has_sent(overheard: Overheard) -> None:
    """The caller itself writes its victim's address into a check, and is silent from then on."""
    victim, check = address(5), overheard.fresh_check()
    overheard.drop_up = lambda data: True
    await asyncio.sleep(0.2)
    overheard.session.send_message("oai-events", "x" * 900)
    overheard.arrives(victim, check)
    await asyncio.sleep(30)
    assert 0 < overheard.octets_to(victim) <= len(check)
    assert overheard.session.ice.withheld > 100


async def test_a_victim_of_a_call_s_first_check_gets_a_handshake_s_bytes_at_most() -> None:
    call, victim = Overheard(), address(6)
    ours = call.answer.split("a=ice-ufrag:")[1].split("\r\n")[0]
    password = call.answer.split("a=ice-pwd:")[1].split("\r\n")[0]
    check = pack_binding_request(f"{ours}:x", password, use_candidate=True)
    call.arrives(victim, check)
    await asyncio.sleep(30)
    assert 0 < call.octets_to(victim) <= len(check) + HANDSHAKE_CREDIT
    await call.stop()


async def test_the_caller_s_own_move_is_followed_with_its_next_packet(overheard: Overheard) -> None:
    """A NAT that forgets its port: the check comes from the new one, and the media that goes on."""
    call, moved = overheard, address(8)
    call.header = moved
    call.arrives(moved, call.fresh_check())
    await asyncio.sleep(0.1)
    assert not call.session.ice.limited
    before = len(call.sent_to[moved])
    await asyncio.sleep(1)
    assert len(call.sent_to[moved]) - before > 45
    assert call.session.state.path_header == moved


async def test_a_receiver_only_is_followed_with_its_next_report(overheard: Overheard) -> None:
    call, moved = overheard, address(9)
    call.peer.unplug_microphone()
    await asyncio.sleep(0.1)
    call.header = moved
    call.arrives(moved, call.fresh_check())
    assert call.session.ice.limited
    call.peer.send_rtcp(bytes([0x80, 201, 0, 1]) + call.peer.rtp.ssrc.to_bytes(4, "big"))
    await asyncio.sleep(0.1)
    assert not call.session.ice.limited


async def test_no_other_call_takes_an_address_that_is_in_use(overheard: Overheard) -> None:
    """A caller writes another caller's address into the checks of its own call."""
    other = Overheard()
    other.session.state.session_id = "rtc_other"
    overheard.registry.add(other.session)
    received = overheard.session.statistics().packets_received
    for _ in range(50):
        check = pack_binding_request(
            f"{other.session.state.ufrags[0]}:x",
            other.answer.split("a=ice-pwd:")[1].split("\r\n")[0],
            use_candidate=True,
        )
        overheard.arrives(HEADER, check)
        await asyncio.sleep(0.02)
    assert overheard.registry.owner_of(HEADER) is overheard.session
    assert overheard.session.statistics().packets_received - received > 45
    assert not overheard.event_of(messages.Ended)
    await other.stop()


def test_ids_are_kept_in_bounds_and_the_newest_of_them_always() -> None:
    seen = SeenChecks()
    ids = [number.to_bytes(4, "big") * 3 for number in (each * 2_654_435_761 % 2**32 for each in range(5000))]
    new = sum(seen.judge(each, b"here", number * 0.1) == "new" for number, each in enumerate(ids))
    assert new > 0.97 * len(ids)
    assert all(seen.judge(each, b"elsewhere", 500.0) == "replayed" for each in ids[-FILTER_CHECKS:])
    older, newer = seen.export()
    assert len(older) + len(newer) <= 4096
    restored = SeenChecks([older, newer])
    assert all(restored.judge(each, b"here", 500.0) == "replayed" for each in ids[-FILTER_CHECKS:])
