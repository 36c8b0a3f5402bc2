"""The DTLS 1.2 handshake, and nothing after it: datagrams in, datagrams out, at the end the keys.

OpenSSL does the handshake only. When it is done, the keys of SRTP and of the record layer are exported and
`record_layer` continues, because a live OpenSSL object can't be moved to another process. Lost flights are repeated by
`flight`, not by OpenSSL.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from OpenSSL import SSL

from antiphon.rtc.dtls import records
from antiphon.rtc.dtls.aiortc_internals import DIGESTS, certificate_digest
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.cipher_suites import SUITES
from antiphon.rtc.dtls.flight import Flight
from antiphon.rtc.dtls.record_layer import DtlsRecords
from antiphon.rtc.dtls.state import DtlsState
from antiphon.rtc.path_mtu import MAX_DATAGRAM
from antiphon.rtc.rtp import srtp
from antiphon.rtc.rtp.srtp_state import SrtpState

EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"
HANDSHAKE_TIMEOUT: Final = 15.0
PLAIN_TYPES: Final = (records.CHANGE_CIPHER_SPEC, records.ALERT, records.HANDSHAKE)
MAX_EARLY: Final = 16
"""Encrypted records that are kept until there are keys for them; more are lost, as on the path."""


class DtlsError(Exception):
    """The handshake failed; the text says at what."""


class Keys(NamedTuple):
    """The result of a handshake."""

    srtp: SrtpState
    dtls: DtlsState


class DtlsHandshake:
    """One handshake. Call `start`, `receive` or `poll`, then send `outgoing()`; `keys` is set when it is done.

    Owner: a `DtlsSetup`, until the handshake has finished or failed; one thread only.
    """

    def __init__(self, certificate: Certificate, fingerprints: list[tuple[str, str]], client: bool, now: float) -> None:
        self.keys: Keys | None = None
        self.send_keys: SrtpState | None = None
        """As client: set once our Finished is written, before the peer's is there. With them media may be sent and
        nothing may be accepted (RFC 7918): the peer has proved its certificate, but not yet that it saw the same
        handshake. The suites are all ECDHE with an AEAD. It is the object that `keys` has later."""
        self.final_flight: list[bytes] = []
        """As server: our last datagrams. A client that lost them repeats its own last flight until it gets these again
        (RFC 6347 section 4.2.4), after the handshake has ended here."""
        self.early: list[bytes] = []
        """Encrypted records that overtook the peer's Finished: for the record layer, once the handshake is done."""
        self._client = client
        self._fingerprints = fingerprints
        self._started_at = now
        self._flight = Flight(self._record_keys)
        self._out: list[bytes] = []
        self._plain_received = 0
        self._ssl = SSL.Connection(certificate.context, None)
        self._ssl.set_ciphertext_mtu(MAX_DATAGRAM)
        if client:
            self._ssl.set_connect_state()
        else:
            self._ssl.set_accept_state()

    def start(self, now: float) -> None:
        """As client: make the ClientHello."""
        self._step(now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram; DtlsError if the handshake can't succeed any more."""
        taken = b"".join(self._admitted(datagram))
        if taken and self.keys is None:
            self._ssl.bio_write(taken)
            self._step(now)

    def is_due(self, now: float) -> bool:
        """`poll` has something to do."""
        again = self._flight.again
        return (again is not None and now >= again) or now - self._started_at > HANDSHAKE_TIMEOUT

    def poll(self, now: float) -> None:
        """Repeat our flight if that is due; DtlsError when the peer stays silent. Costs no step of OpenSSL."""
        if now - self._started_at > HANDSHAKE_TIMEOUT:
            raise DtlsError(f"the client did not finish the DTLS handshake within {HANDSHAKE_TIMEOUT:.0f} s")
        self._out += self._flight.repeat(now)

    def outgoing(self) -> list[bytes]:
        """The datagrams to send now, cut between records."""
        out, self._out = self._out, []
        return out

    def _admitted(self, datagram: bytes) -> list[bytes]:
        """The records that OpenSSL may see.

        Plain ones get numbers of ours: nothing authenticates theirs, and a forged high one would make OpenSSL take all
        real ones for replays.
        """
        admitted = []
        for record in records.split(datagram):
            if records.epoch(record) == 1:
                if len(self.early) < MAX_EARLY:
                    self.early.append(record)
                admitted.append(record)
            elif records.epoch(record) == 0 and record[0] in PLAIN_TYPES and records.is_whole(record):
                admitted.append(records.numbered(record, self._plain_received))
                self._plain_received += 1
        return admitted

    def _step(self, now: float) -> None:
        failure = None
        try:
            self._ssl.do_handshake()
            done = True
        except SSL.WantReadError:
            done = False
        except SSL.Error as error:
            failure, done = DtlsError(f"DTLS handshake failed: {_reason(error)}"), False
        datagrams = self._flight.written(self._written(), now)
        self._out += datagrams
        if failure is not None:
            raise failure
        if self._client and self.send_keys is None and (done or self._flight.finished):
            self._check_peer()
            self.send_keys = self._export()
        if done:
            self._finish(datagrams)

    def _written(self) -> bytes:
        waiting = b""
        while True:
            try:
                waiting += self._ssl.bio_read(1 << 16)
            except SSL.WantReadError:
                return waiting

    def _finish(self, datagrams: list[bytes]) -> None:
        self._flight.end()
        if not self._client:
            self._check_peer()
            self.final_flight = datagrams
        dtls = self._record_keys()
        dtls.write_sequence = self._flight.write_sequence
        dtls.read_highest, dtls.read_window = -1, 0
        # Handshake records are OpenSSL's: the record layer must not take one again. The others are for it.
        own = DtlsRecords(dtls)
        early, self.early = self.early, []
        for record in early:
            if record[0] == records.HANDSHAKE:
                own.open(record)
            else:
                self.early.append(record)
        self.keys = Keys(self.send_keys or self._export(), dtls)

    def _check_peer(self) -> None:
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise DtlsError("the client sent no certificate")
        known = [(name, value) for name, value in self._fingerprints if name in DIGESTS]
        if not known or not all(
            hmac.compare_digest(certificate_digest(certificate, name).upper(), value.upper()) for name, value in known
        ):
            raise DtlsError("the client's certificate is not the one its offer gives the fingerprint of")

    def _export(self) -> SrtpState:
        profile = self._ssl.get_selected_srtp_profile().decode()
        if profile not in srtp.PROFILES:
            raise DtlsError(f"no SRTP profile in common: the client chose {profile or 'none'}")
        self._suite()
        material = self._ssl.export_keying_material(EXPORTER_LABEL, srtp.key_material_length(profile))
        of_client, of_server = srtp.split_key_material(profile, material)
        local, remote = (of_client, of_server) if self._client else (of_server, of_client)
        return SrtpState(profile, local, remote)

    def _suite(self) -> str:
        suite = self._ssl.get_cipher_name() or ""
        if suite not in SUITES:
            raise DtlsError(f"DTLS cipher {suite!r} is none of {', '.join(SUITES)}")
        return suite

    def _record_keys(self) -> DtlsState:
        """The keys of epoch 1, which OpenSSL has from the moment at which it writes our Finished."""
        ssl, suite = self._ssl, self._suite()
        key, nonce, digest = SUITES[suite]
        # RFC 5246 section 6.3. The session's master key is the extended one where that was negotiated.
        seed = ssl.server_random() + ssl.client_random()  # type: ignore[operator]
        block = _prf(ssl.master_key() or b"", b"key expansion", seed, 2 * (key + nonce), digest)
        return DtlsState(suite, self._client, block)


def _reason(error: SSL.Error) -> str:
    """OpenSSL's reason: from a list of (library, function, reason), or an errno and a text, or nothing."""
    details = error.args[0] if error.args else None
    if isinstance(details, list) and details:
        return str(details[0][2])
    return "closed by the client"


def _prf(secret: bytes, label: bytes, seed: bytes, length: int, digest: str) -> bytes:
    """The pseudo-random function of TLS 1.2 (RFC 5246 section 5)."""
    seed = label + seed
    chain, out = seed, b""
    while len(out) < length:
        chain = hmac.digest(secret, chain, digest)
        out += hmac.digest(secret, chain + seed, digest)
    return out[:length]
