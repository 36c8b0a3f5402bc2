"""A client that entered by a relay of another place: its whole header is its name. In virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from support.models.sounds import speech, tone
from support.net.emulator import run_virtual
from support.peers.session_call import HEADER, PASSWORD_KEY, RELAY, Call, StartCall, loudness

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.rtc.rtp.packet import pack_rtp
from antiphon.schemas import backbone, messages, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import Route
from antiphon.transceiver.ice.agent import HANDSHAKE_CREDIT, Path
from antiphon.transceiver.net.demux import Unrouted
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import SessionState

pytestmark = pytest.mark.virtual

CLIENT = Address("192.0.2.1", 5000)
BY_7 = backbone.pack_header(CLIENT, Route(7, 3, 9, 1))
BY_8 = backbone.pack_header(CLIENT, Route(8, 3, 9, 0))
OTHER_RELAY = ("127.0.0.1", 4001)
RECEIVER_REPORT = bytes.fromhex("80c90001")
"""Of RTCP, without blocks; the sender's SSRC follows."""


class Observed(Call):
    """A call of which each packet of ours is noted with its path, whichever that is."""

    def __init__(self, header: bytes = BY_7) -> None:
        self.relay = RELAY
        self.answers: list[tuple[Path, bytes]] = []
        self.checks: list[bytes] = []
        super().__init__(header=header)

    def datagram(self, path: Path, data: bytes) -> None:
        self.answers.append((path, data))
        super().datagram(Path(self.header, RELAY), data)

    def _to_session(self, data: bytes) -> None:
        if data[0] < 4:
            self.checks.append(data)
        now = self.loop.time()
        self.registry.receive(self.header + data, self.relay, now, 0)

    def arrives(self, header: bytes, data: bytes, relay: tuple[str, int] = RELAY) -> Unrouted | None:
        return self.registry.receive(header + data, relay, self.loop.time(), 0)

    def fresh_check(self, use_candidate: bool = False) -> bytes:
        answer = self.peer.answer
        return pack_binding_request(f"{answer.ufrag}:x", answer.password, use_candidate=use_candidate)

    def octets_to(self, header: bytes) -> int:
        return sum(len(data) for path, data in self.answers if path.header == header)


@pytest.fixture
async def observed() -> AsyncIterator[Observed]:
    call = Observed()
    await call.connect()
    yield call
    await call.stop()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::7"])
async def test_a_call_over_two_hops_passes_links_of_1280_bytes_with_the_longest_messages(
    start_call: StartCall, host: str, tcp: bool
) -> None:
    header = backbone.pack_header(Address(host, 5000), Route(65535, 65535, 65535, 255), tcp)
    call = Call(header=header)
    lost: list[int] = []

    def too_long(data: bytes) -> bool:
        """On an IPv6 backbone with a tag."""
        size = 40 + 8 + len(header) + backbone.TAG_BYTES + len(data)
        if size > 1280:
            lost.append(size)
        return size > 1280

    call.drop_up = call.drop_down = too_long
    await call.connect()
    call.peer.speak(tone(1.0))
    for frame in speech(1.0):
        call.session.speak(frame, call.loop.time())
    text = random.Random(1).randbytes(30_000).hex()
    call.peer.send_text(text)
    call.session.send_message("oai-events", text)
    await asyncio.sleep(20)
    assert ([each.text for each in call.data], call.peer.texts) == ([text], [text])
    assert sum(level > 4000 for level in loudness(call.heard)) > 45
    assert sum(level > 4000 for level in loudness(call.peer.frames)) > 45
    assert lost == []
    assert max(map(len, call.sent)) > 1100, "messages fill their packets"
    await call.stop()


async def test_the_answer_to_a_check_names_the_client_and_not_the_ingress(observed: Observed) -> None:
    check = observed.fresh_check()
    observed.arrives(BY_7, check)
    path, answer = observed.answers[-1]
    assert path == Path(BY_7, RELAY)
    plain = Observed(HEADER)
    plain.arrives(HEADER, pack_binding_request(f"{plain.session.state.ufrags[0]}:x", _password(plain), True))
    mapped = plain.answers[0][1]
    at = mapped.index(b"\x00\x20\x00\x08")
    assert answer[at : at + 12] == mapped[at : at + 12], "XOR-MAPPED-ADDRESS of 192.0.2.1:5000"
    await plain.stop()


def _password(call: Call) -> str:
    return call.answer.split("a=ice-pwd:")[1].split("\r\n")[0]


@pytest.mark.parametrize("what", ["media", "a report", "a check"])
async def test_answers_follow_the_relay_between_that_the_client_s_newest_packet_came_by(
    observed: Observed, what: str
) -> None:
    observed.peer.unplug_microphone()
    await asyncio.sleep(0.1)
    assert observed.session.ice.path == Path(BY_7, RELAY)
    observed.relay = OTHER_RELAY  # the ingress has chosen another relay of the cluster
    if what == "media":
        payload_type, stream = observed.session.state.rtp.payload_type, observed.peer.rtp
        observed.peer.send_rtp(pack_rtp(payload_type, False, stream.sequence + 1 & 0xFFFF, 0, stream.ssrc, b"\xf8\xff"))
    elif what == "a report":
        observed.peer.send_rtcp(RECEIVER_REPORT + observed.peer.rtp.ssrc.to_bytes(4, "big"))
    else:
        observed.arrives(BY_7, observed.fresh_check(), OTHER_RELAY)
    await asyncio.sleep(0.1)
    assert observed.session.ice.path == Path(BY_7, OTHER_RELAY)
    assert observed.session.state.path_relay == OTHER_RELAY, "the process that takes over answers there"
    observed.session.send_message("oai-events", "there")
    assert observed.answers[-1][0] == Path(BY_7, OTHER_RELAY)


async def test_a_check_without_nomination_by_another_relay_moves_no_client_of_one_hop() -> None:
    call = Observed(HEADER)
    await call.connect()
    call.peer.unplug_microphone()
    call.arrives(HEADER, call.fresh_check(), OTHER_RELAY)
    assert call.session.ice.path == Path(HEADER, RELAY), "that relay may not be the one by which the client is reached"
    await call.stop()


async def test_a_call_moves_between_one_hop_and_two_and_between_ingresses_with_its_media(observed: Observed) -> None:
    call = observed
    call.peer.speak(tone(30))
    for header in (BY_8, HEADER, BY_7):
        call.arrives(header, call.fresh_check())
        assert call.session.ice.path is not None
        assert call.session.ice.path.header != header, "a check that nominates nothing moves nothing"
        call.header = header
        await asyncio.sleep(0.1)
        assert call.session.ice.path == Path(header, RELAY)
        assert call.registry.owner_of(header) is call.session
        state = call.session.state
        assert (state.path_header, state.path_relay) == (header, RELAY)
    assert set(call.session.ice.headers) == {BY_7, BY_8, HEADER}
    call.registry.remove(call.session)
    assert not any(map(call.registry.owner_of, (BY_7, BY_8, HEADER)))


async def test_an_overheard_check_is_of_no_use_by_another_ingress(observed: Observed) -> None:
    call = observed
    call.peer.speak(tone(3))
    for seconds in range(20):
        for check in call.checks[-3:] + call.checks[:1]:
            for header in (BY_8, HEADER, backbone.pack_header(CLIENT, Route(9 + seconds, 3, 9, 0))):
                call.arrives(header, check)
        await asyncio.sleep(0.1)
    assert {path.header for path, _ in call.answers} == {BY_7}
    assert call.session.ice.headers == (BY_7,)
    assert call.session.ice.path == Path(BY_7, RELAY)
    assert call.session.statistics().checks_replayed >= 100


async def test_an_address_by_another_ingress_gets_no_more_than_came_from_there_until_it_is_proved(
    observed: Observed,
) -> None:
    call = observed
    for frame in speech(10):
        call.session.speak(frame, call.loop.time())
    call.peer.unplug_microphone()
    came = 0
    for ingress in range(20, 26):  # an observer that has kept fresh checks from us sends them on from elsewhere
        check = call.fresh_check(use_candidate=True)
        came += len(check)
        call.arrives(backbone.pack_header(Address("203.0.113.9", 9), Route(ingress, 3, 9, 0)), check)
        await asyncio.sleep(0.5)
    drawn = sum(len(data) for path, data in call.answers if path.header != BY_7)
    assert 0 < drawn <= came < HANDSHAKE_CREDIT


async def test_a_header_of_another_version_makes_no_client(observed: Observed) -> None:
    call = observed
    before = call.registry.counters.malformed
    tagged = BY_7[:-1] + bytes((BY_7[-1] | backbone.TAG_FLAG,))
    version = BY_7[:-1] + bytes((BY_7[-1] & 0x0F | 0x20,))
    tcp_in_one_place = BY_7[:1] + bytes((BY_7[1] | 0x80,)) + BY_7[2:]
    no_ingress = BY_7[:8] + bytes(2) + BY_7[10:]
    no_port = BY_7[:2] + bytes(2) + BY_7[4:]
    wrong = (tagged, version, tcp_in_one_place, no_ingress, no_port)
    for header in wrong:
        assert call.arrives(header, call.fresh_check(use_candidate=True)) is None
        assert call.arrives(header, b"\x80" + bytes(40)) is None
    for length in range(16):
        assert call.arrives(BY_7[:length], b"") is None
    assert call.registry.counters.malformed == before + 2 * len(wrong) + 16
    assert call.session.ice.headers == (BY_7,)


def test_media_of_a_session_that_is_not_here_is_returned_where_its_header_names_an_identity() -> None:
    async def main() -> None:
        call = Observed()
        media = b"\x80" + bytes(40)
        assert call.arrives(BY_8, media) == Unrouted("", BY_8 + media, RELAY)
        assert call.arrives(HEADER, media) is None, "relays send it where the session is"
        assert call.arrives(BY_8, b"") is None, "no client's packet"
        assert call.registry.counters.unknown_client == 2
        await call.stop()

    run_virtual(main())


async def test_a_session_keeps_the_header_in_the_process_that_takes_it_over(observed: Observed) -> None:

    call, old = observed, observed.session
    state = SessionState.from_bytes(old.export(call.loop.time()))
    assert state.path_header == BY_7
    old.detach()
    call.registry.remove(old)
    now = call.loop.time()
    call.session = Session(state, None, PASSWORD_KEY, old.dtls_client, call, now, call.wheel.add, call.wheel.remove)
    call.registry.add(call.session)
    call.session.restore(now)
    call.session.resume(now)
    call.registry.adopt(call.session)
    assert call.registry.owner_of(BY_7) is call.session
    call.peer.speak(tone(1))
    call.session.send_message("oai-events", "after")
    await asyncio.sleep(2)
    assert call.peer.texts == ["after"]
    assert call.event_of(messages.Ended) == []
    assert sum(level > 4000 for level in loudness(call.heard)) > 45
    assert tunnel.header_length(BY_7) == len(call.session.state.path_header) == 16
