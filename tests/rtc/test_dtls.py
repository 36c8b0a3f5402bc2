"""The DTLS handshake of OpenSSL, and our own records after it."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable

import pytest
from aiortc import RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.dtls.aiortc_internals import ssl_context
from antiphon.rtc.dtls.certificate import Certificate, CurrentCertificate
from antiphon.rtc.dtls.handshake import DtlsError, DtlsHandshake
from antiphon.rtc.dtls.record_layer import ALERT, APPLICATION_DATA, CLOSE_NOTIFY, WINDOW, DtlsRecords
from antiphon.rtc.dtls.state import DtlsState

pytestmark = pytest.mark.pure

OURS, THEIRS = Certificate(), Certificate()


def handshake(
    drop: Callable[[bytes], bool] = lambda data: False, theirs: Certificate = THEIRS
) -> tuple[DtlsHandshake, DtlsHandshake]:
    """Client and server to the end, without loss unless told."""
    client = DtlsHandshake(OURS, [("sha-256", theirs.fingerprint)], True, 0.0)
    server = DtlsHandshake(theirs, [("sha-256", OURS.fingerprint)], False, 0.0)
    client.start(0.0)
    for _ in range(10):
        for data in client.outgoing():
            server.receive(data, 0.0)
        for data in server.outgoing():
            if not drop(data):
                client.receive(data, 0.0)
    return client, server


def test_the_certificate_of_new_sessions_is_made_anew_each_day() -> None:
    current = CurrentCertificate(now=100.0)
    first = current.at(100.0)
    assert current.at(100.0 + 86400) is first
    second = current.at(101.0 + 86400)
    assert second.fingerprint != first.fingerprint
    assert current.at(102.0 + 86400) is second


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


class LongCertificate(Certificate):
    """With so many bytes more, as one of another key or with more names has."""

    def __init__(self, more: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "long")])
        now = datetime.datetime.now(tz=datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
            .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), bytes(more)), False)
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = ":".join(f"{octet:02X}" for octet in certificate.fingerprint(hashes.SHA256()))
        self.context = ssl_context(RTCCertificate(key, certificate))


def test_handshake_datagrams_fit_any_path() -> None:
    """The longest is that over two relays: IPv6, UDP, a header of 28 bytes and a tag of 8."""
    sizes: list[int] = []

    def measure(data: bytes) -> bool:
        sizes.append(40 + 8 + 28 + 8 + len(data))
        return False

    client, _ = handshake(measure)
    assert client.keys is not None
    for more in range(400, 660, 2):  # with these a flight fills its first datagram
        client, _ = handshake(measure, LongCertificate(more))
        assert client.keys is not None
    assert 1270 < max(sizes) <= 1280


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
