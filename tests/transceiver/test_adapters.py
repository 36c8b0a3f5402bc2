"""What we use of pylibsrtp, pyOpenSSL, aiortc and nats-py beyond their public interface: it exists and behaves.

When an upgrade of one of them breaks a test here, its adapter (`srtp`, `dtls_handshake`, `sctp`, `opus`,
`nats_direct`) is the file to look at, before anything else fails in ways that are harder to read.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable
from itertools import pairwise

import nats
import pylibsrtp
import pytest
from aiortc import RTCCertificate, RTCSctpTransport
from aiortc import rtcsctptransport as aiortc_sctp
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp._binding import lib
from support.conditions import until
from support.emulator import Conditions, Link, run_virtual, virtual_loop
from support.sounds import tone

from antiphon.transceiver import nats_direct, opus, sctp, srtp
from antiphon.transceiver.dtls_handshake import Certificate, DtlsError, DtlsHandshake
from antiphon.transceiver.dtls_records import ALERT, APPLICATION_DATA, CLOSE_NOTIFY, WINDOW, DtlsRecords
from antiphon.transceiver.rtp import pack_rtp
from antiphon.transceiver.sctp import ChannelError, DataChannels
from antiphon.transceiver.srtp import MAX_STREAMS, Srtp
from antiphon.transceiver.state import DtlsState, SrtpState

PROFILES = list(srtp.PROFILES)
OURS, THEIRS = Certificate(), Certificate()


# ---- SRTP ------------------------------------------------------------------------------------------------


def srtp_pair(profile: str, ssrc: int = 5) -> tuple[Srtp, Srtp]:
    _, key, salt = srtp.PROFILES[profile]
    one, two = bytes(range(key + salt)), bytes(range(100, 100 + key + salt))
    return Srtp(SrtpState(profile, one, two), ssrc), Srtp(SrtpState(profile, two, one), 6)


def rtp(sequence: int, ssrc: int = 5) -> bytes:
    return pack_rtp(111, False, sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, ssrc, b"speech %d" % sequence)


def test_the_binding_of_pylibsrtp_has_what_is_called() -> None:
    for name in ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp"):
        assert callable(getattr(lib, name))
    policy = pylibsrtp.Policy(
        bytes(28), pylibsrtp.Policy.SSRC_ANY_INBOUND, 0, pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    )
    assert pylibsrtp.Session(policy)._srtp[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_passes_packets_over_the_sequence_wrap_and_counts_its_indices(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    for number in range(65_000, 66_500):
        assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)
    assert sender.state.local_index == receiver.state.remote_index == 66_499


@pytest.mark.parametrize("profile", PROFILES)
def test_srtp_refuses_replays_forgeries_and_rubbish(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    packet = sender.protect(rtp(1))
    assert receiver.unprotect(packet) == rtp(1)
    assert receiver.unprotect(packet) is None
    assert (receiver.replayed, receiver.refused) == (1, 0)
    forged = bytearray(sender.protect(rtp(2)))
    forged[14] ^= 1
    for rubbish in (bytes(forged), b"", b"\x80", bytes(3000), b"\x80\x6f" + bytes(10)):
        assert receiver.unprotect(rubbish) is None
    assert receiver.refused == 5


@pytest.mark.parametrize("profile", PROFILES)
def test_srtcp_passes_and_refuses(profile: str) -> None:
    sender, receiver = srtp_pair(profile)
    compound = b"\x80\xc9\x00\x01\x00\x00\x00\x05"
    protected = sender.protect_rtcp(compound)
    assert receiver.unprotect_rtcp(protected) == compound
    assert receiver.unprotect_rtcp(protected) is None
    assert receiver.unprotect_rtcp(b"\x80\xc9") is None
    assert sender.state.rtcp_index == 1


def test_the_streams_of_one_client_are_bounded() -> None:
    state = SrtpState("SRTP_AEAD_AES_128_GCM", bytes(28), bytes(28))
    receiver, taken = Srtp(state, 1), 0
    for ssrc in range(100, 200):
        sender = Srtp(SrtpState("SRTP_AEAD_AES_128_GCM", bytes(28), bytes(28)), ssrc)
        taken += receiver.unprotect(sender.protect(rtp(1, ssrc))) is not None
    assert taken == MAX_STREAMS


@given(st.binary(max_size=2100))
def test_no_datagram_makes_srtp_raise(datagram: bytes) -> None:
    _, receiver = srtp_pair("SRTP_AEAD_AES_128_GCM")
    assert receiver.unprotect(datagram) is None
    assert receiver.unprotect_rtcp(datagram) is None


# ---- DTLS ------------------------------------------------------------------------------------------------


def handshake(drop: Callable[[bytes], bool] = lambda data: False) -> tuple[DtlsHandshake, DtlsHandshake]:
    """Client and server to the end, without loss unless told."""
    client = DtlsHandshake(OURS, [("sha-256", THEIRS.fingerprint)], True, 0.0)
    server = DtlsHandshake(THEIRS, [("sha-256", OURS.fingerprint)], False, 0.0)
    client.start(0.0)
    for _ in range(10):
        for data in client.outgoing():
            server.receive(data, 0.0)
        for data in server.outgoing():
            if not drop(data):
                client.receive(data, 0.0)
    return client, server


def test_openssl_s_context_comes_from_aiortc_s_certificate() -> None:
    assert "srtp_profiles" in inspect.signature(RTCCertificate._create_ssl_context).parameters


def test_both_ends_take_the_same_keys_out_of_the_handshake() -> None:
    client, server = handshake()
    assert client.keys is not None
    assert server.keys is not None
    assert client.keys.srtp.profile == server.keys.srtp.profile == "SRTP_AEAD_AES_128_GCM"
    assert client.keys.srtp.local_key == server.keys.srtp.remote_key
    assert client.keys.srtp.remote_key == server.keys.srtp.local_key
    assert client.keys.dtls.key_block == server.keys.dtls.key_block
    assert client.final_flight == []
    assert len(server.final_flight) >= 1


def test_handshake_datagrams_fit_any_path() -> None:
    sizes: list[int] = []

    def measure(data: bytes) -> bool:
        sizes.append(len(data))
        return False

    client, _ = handshake(measure)
    assert client.keys is not None
    assert max(sizes) <= 1200


def test_openssl_understands_our_records() -> None:
    """The record layer is ours from here on: the server's side stays in OpenSSL to prove that it is the same."""
    client, server = handshake()
    assert client.keys is not None
    records = DtlsRecords(client.keys.dtls)
    server._ssl.bio_write(records.seal(APPLICATION_DATA, b"hello"))
    assert server._ssl.recv(100) == b"hello"
    server._ssl.send(b"good day")
    (record,) = records.open(server._ssl.bio_read(1500))
    assert record == (APPLICATION_DATA, b"good day")
    server._ssl.shutdown()
    (record,) = records.open(server._ssl.bio_read(1500))
    assert record == (ALERT, CLOSE_NOTIFY)


def test_a_fingerprint_that_does_not_fit_is_an_error() -> None:
    client = DtlsHandshake(OURS, [("sha-256", OURS.fingerprint)], True, 0.0)
    server = DtlsHandshake(THEIRS, [("sha-256", OURS.fingerprint)], False, 0.0)
    client.start(0.0)

    def exchange() -> None:
        for _ in range(5):
            for data in client.outgoing():
                server.receive(data, 0.0)
            for data in server.outgoing():
                client.receive(data, 0.0)

    with pytest.raises(DtlsError, match="fingerprint"):
        exchange()


@given(st.lists(st.binary(max_size=100) | st.binary(max_size=60).map(lambda data: b"\x16\xfe\xfd" + data), max_size=8))
def test_no_datagrams_make_a_handshake_raise_anything_but_dtls_error(datagrams: list[bytes]) -> None:
    for client in (True, False):
        ours = DtlsHandshake(OURS, [("sha-256", THEIRS.fingerprint)], client, 0.0)
        try:
            if client:
                ours.start(0.0)
            for datagram in datagrams:
                ours.receive(datagram, 0.0)
                ours.outgoing()
        except DtlsError:
            continue


def test_a_silent_peer_is_given_up() -> None:
    client = DtlsHandshake(OURS, [("sha-256", THEIRS.fingerprint)], True, 0.0)
    client.start(0.0)
    with pytest.raises(DtlsError, match="within 15 s"):
        client.poll(15.1)


# ---- records ---------------------------------------------------------------------------------------------


def records_pair(suite: str) -> tuple[DtlsRecords, DtlsRecords]:
    block = bytes(range(88))
    return DtlsRecords(DtlsState(suite, True, block)), DtlsRecords(DtlsState(suite, False, block))


SUITES = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]


@pytest.mark.parametrize("suite", SUITES)
def test_records_pass_once_in_any_order_within_the_window(suite: str) -> None:
    sender, receiver = records_pair(suite)
    sealed = [sender.seal(APPLICATION_DATA, b"%d" % number) for number in range(200)]
    order = list(range(200))
    random.Random(1).shuffle(order)
    highest, seen = -1, []
    for number in order:
        opened = receiver.open(sealed[number])
        assert bool(opened) == (highest - number < WINDOW)
        assert receiver.open(sealed[number]) == []
        highest = max(highest, number)
        seen += [int(record.payload) for record in opened]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("suite", SUITES)
@given(data=st.data())
def test_changed_records_are_refused_and_change_nothing(suite: str, data: st.DataObject) -> None:
    sender, receiver = records_pair(suite)
    sealed = bytearray(sender.seal(APPLICATION_DATA, b"hello"))
    sealed[data.draw(st.integers(0, len(sealed) - 1).filter(lambda at: at not in (1, 2)))] ^= data.draw(
        st.integers(1, 255)
    )
    before = (receiver.state.read_highest, receiver.state.read_window)
    assert receiver.open(bytes(sealed)) == []
    assert (receiver.state.read_highest, receiver.state.read_window) == before


@given(st.binary(max_size=200))
def test_no_datagram_makes_the_record_layer_raise(datagram: bytes) -> None:
    assert records_pair(SUITES[0])[1].open(datagram) == []


# ---- SCTP ------------------------------------------------------------------------------------------------


def test_aiortc_s_sctp_has_what_the_adapter_leans_on() -> None:
    assert aiortc_sctp.USERDATA_MAX_LENGTH == 1100
    for name in ("start", "stop", "_handle_data"):
        assert inspect.iscoroutinefunction(getattr(RTCSctpTransport, name))
    source = inspect.getsource(RTCSctpTransport)
    for member in ("_send_data", "_register_data_receiver", "_unregister_data_receiver"):
        assert f".{member}(" in source
        assert hasattr(sctp._RecordTransport, member)


class Association:
    """Two ends and a network of 1280-byte packets."""

    LIMIT = 1280 - 40 - 8 - 20 - 37  # IPv6, UDP, tunnel, DTLS record

    def __init__(self, conditions: Conditions) -> None:
        self.loop = virtual_loop()
        self.links = Link(conditions, 1), Link(conditions, 2)
        self.largest = 0
        self.opened: list[str] = []
        self.received: tuple[list[str | bytes], list[str | bytes]] = ([], [])
        self.ends = tuple(self._end(side) for side in (0, 1))
        for end in self.ends:
            end.start(5000, 65536)

    def _end(self, side: int) -> DataChannels:
        return DataChannels(
            side == 0,
            lambda data: self._send(side, data),
            self.opened.append,
            lambda label, payload: self.received[side].append(payload),
        )

    def _send(self, side: int, data: bytes) -> None:
        self.largest = max(self.largest, len(data))
        if len(data) <= self.LIMIT:
            for at in self.links[side].arrivals(self.loop.time()):
                self.loop.call_at(at, self.ends[1 - side].receive, data)

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.mark.parametrize("conditions", [Conditions(), Conditions(loss=0.05, jitter=0.03)], ids=["clean", "lossy"])
def test_16_kb_messages_pass_both_ways_on_a_1280_byte_path(conditions: Conditions) -> None:
    async def main() -> None:
        pair = Association(conditions)
        opened = asyncio.Event()
        pair.ends[0].create("oai-events", opened.set)
        await asyncio.wait_for(opened.wait(), 60)
        await asyncio.sleep(10)
        assert pair.opened == ["oai-events"]
        sent = [random.Random(number).randbytes(16_384) for number in range(10)]
        for message in sent:
            assert pair.ends[0].send("oai-events", message)
            assert pair.ends[1].send("oai-events", message)
        await asyncio.sleep(120)
        assert pair.received == (sent, sent)
        assert pair.largest <= pair.LIMIT
        pair.close()

    run_virtual(main())


def test_a_channel_refuses_what_it_can_t_take_and_knows_only_open_ones() -> None:
    async def main() -> None:
        pair = Association(Conditions())
        assert not pair.ends[0].send("oai-events", "early")
        opened = asyncio.Event()
        pair.ends[0].create("oai-events", opened.set)
        await asyncio.wait_for(opened.wait(), 10)
        with pytest.raises(ChannelError, match="only supports"):
            pair.ends[0].send("oai-events", "x" * 70_000)
        while pair.ends[0]._channels["oai-events"].bufferedAmount <= sctp.MAX_BUFFERED:
            assert pair.ends[0].send("oai-events", "x" * 60_000)
        with pytest.raises(ChannelError, match="unsent"):
            pair.ends[0].send("oai-events", "one more")
        pair.close()
        assert not pair.ends[0].send("oai-events", "late")
        await asyncio.sleep(30)

    run_virtual(main())


def test_a_client_opens_a_bounded_number_of_channels() -> None:
    async def main() -> None:
        pair = Association(Conditions())
        for number in range(sctp.MAX_CHANNELS + 20):
            pair.ends[0].create(f"channel {number}", lambda: None)
        await asyncio.sleep(30)
        assert len(pair.ends[1]._channels) == sctp.MAX_CHANNELS
        pair.close()

    run_virtual(main())


def test_rubbish_in_an_association_is_dropped() -> None:
    async def main() -> None:
        pair = Association(Conditions())
        generator = random.Random(1)
        for _ in range(500):
            pair.ends[1].receive(generator.randbytes(generator.randrange(100)))
        opened = asyncio.Event()
        pair.ends[0].create("oai-events", opened.set)
        await asyncio.wait_for(opened.wait(), 10)
        pair.close()

    run_virtual(main())


# ---- Opus ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_opus_round_trips_at_every_rate(rate: int) -> None:
    encoder, decoder = opus.Encoder(rate), opus.Decoder(rate)
    pcm, size = tone(0.2, rate), rate // 50 * 2
    for at in range(0, len(pcm), size):
        packet = encoder.encode(pcm[at : at + size])
        assert opus.packet_ticks(packet) == 960
        heard = decoder.decode(packet)
        assert len(heard) == size
    assert max(memoryview(heard).cast("h")) > 4000
    assert len(decoder.conceal(960)) == size


def test_a_lost_frame_comes_back_from_the_fec_of_the_next_packet() -> None:
    encoder, decoder = opus.Encoder(16000, bitrate=32000), opus.Decoder(16000)
    encoder.expect_loss(30)
    pcm = tone(0.2, 16000, 440) + tone(0.02, 16000, 1500) + tone(0.2, 16000, 440)
    packets = [encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640)]
    for packet in packets[:10]:
        decoder.decode(packet)
    recovered = memoryview(decoder.recover(packets[11], 960)).cast("h")
    crossings = sum(a < 0 <= b for a, b in pairwise(recovered))
    assert crossings > 15  # of the 1500 Hz that was lost, not of the 440 Hz around it


@given(st.binary(max_size=200))
def test_no_packet_makes_opus_raise_anything_but_its_own_error(packet: bytes) -> None:
    decoder = opus.Decoder(16000)
    for call in (
        lambda: opus.packet_ticks(packet),
        lambda: decoder.decode(packet),
        lambda: decoder.recover(packet, 960),
    ):
        try:
            call()
        except opus.OpusError:
            continue


# ---- nats-py -------------------------------------------------------------------------------------------------


def test_messages_written_at_once_arrive_in_order_between_those_of_the_client(nats_url: str) -> None:
    async def main() -> None:
        client, heard = await nats.connect(nats_url), []
        subscription = await nats_direct.subscribe(client, "a.*", lambda message: heard.append(message.data))
        await client.publish("a.0", b"first")
        assert nats_direct.publish_all(client, [("a.1", b"second"), ("a.2", b""), ("a.1", b"fourth")])
        await client.publish("a.0", b"last")
        await until(lambda: len(heard) == 5)  # the library's flush may overtake its own publish
        assert heard == [b"first", b"second", b"", b"fourth", b"last"]
        await nats_direct.unsubscribe(client, subscription)
        assert nats_direct.publish_all(client, [("a.1", b"unheard")])
        await client.flush()
        assert len(heard) == 5
        await client.close()
        assert not nats_direct.publish_all(client, [("a.1", b"too late")])

    asyncio.run(main())


def test_a_handler_that_fails_costs_its_message_only(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        client, heard = await nats.connect(nats_url), []

        def handle(message: nats_direct.Heard) -> None:
            heard.append(message.data)
            if message.data == b"bad":
                raise ValueError("no")

        await nats_direct.subscribe(client, "a", handle)
        assert nats_direct.publish_all(client, [("a", b"bad"), ("a", b"good")])
        await client.flush()
        assert heard == [b"bad", b"good"]
        await client.close()

    asyncio.run(main())
    assert "could not be handled" in caplog.text
