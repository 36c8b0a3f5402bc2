"""The DTLS 1.2 handshake, and nothing after it: datagrams in, datagrams out, at the end the keys.

OpenSSL does the handshake only. When it is done, the keys of SRTP and of the record layer are exported and
`record_layer` continues, because a live OpenSSL object can't be moved to another process.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from OpenSSL import SSL

from antiphon.rtc.dtls.aiortc_internals import DIGESTS, certificate_digest
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.cipher_suites import SUITES
from antiphon.rtc.dtls.state import DtlsState
from antiphon.rtc.path_mtu import MAX_DATAGRAM
from antiphon.rtc.rtp import srtp
from antiphon.rtc.rtp.srtp_state import SrtpState

EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"
HANDSHAKE_TIMEOUT: Final = 15.0


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
        self.final_flight: list[bytes] = []
        """As server: our last datagrams. A client that lost them repeats its own last flight until it gets these again
        (RFC 6347 section 4.2.4), after the handshake has ended here."""
        self._client = client
        self._fingerprints = fingerprints
        self._started_at = now
        self._timer: float | None = None
        self._write_sequence = 0
        self._read_highest = -1
        self._read_window = 0
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
        for sequence in _epoch_one(datagram):
            # Not authenticated yet: a forged high sequence number must not close the window to the real ones.
            if self._read_highest < sequence < 64:
                self._read_window = (self._read_window << sequence - self._read_highest | 1) & (1 << 64) - 1
                self._read_highest = sequence
        if datagram:
            self._ssl.bio_write(datagram)
            self._step(now)

    def poll(self, now: float) -> None:
        """Retransmit what is due; DtlsError when the peer stays silent."""
        if now - self._started_at > HANDSHAKE_TIMEOUT:
            raise DtlsError(f"the client did not finish the DTLS handshake within {HANDSHAKE_TIMEOUT:.0f} s")
        if self._timer is not None and now >= self._timer:
            try:
                self._ssl.DTLSv1_handle_timeout()
            except SSL.Error as error:
                raise DtlsError(f"DTLS handshake failed: {_reason(error)}") from None
            self._arm(now)

    def outgoing(self) -> list[bytes]:
        """The datagrams to send now, cut between records."""
        datagrams: list[bytes] = []
        waiting = b""
        while True:
            try:
                waiting += self._ssl.bio_read(1 << 16)
            except SSL.WantReadError:
                break
        position = start = 0
        while position + 13 <= len(waiting):
            end = position + 13 + int.from_bytes(waiting[position + 11 : position + 13], "big")
            if end - start > MAX_DATAGRAM and position > start:
                datagrams.append(waiting[start:position])
                start = position
            position = end
        if start < len(waiting):
            datagrams.append(waiting[start:])
        for datagram in datagrams:
            for sequence in _epoch_one(datagram):
                self._write_sequence = max(self._write_sequence, sequence + 1)
        if self.keys is not None:
            self.keys.dtls.write_sequence = max(self.keys.dtls.write_sequence, self._write_sequence)
            if not self._client:
                self.final_flight += datagrams
        return datagrams

    def _step(self, now: float) -> None:
        if self.keys is not None:
            return
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._arm(now)
            return
        except SSL.Error as error:
            raise DtlsError(f"DTLS handshake failed: {_reason(error)}") from None
        self._timer = None
        self._check_peer()
        self.keys = self._take_keys()

    def _arm(self, now: float) -> None:
        left = self._ssl.DTLSv1_get_timeout()
        self._timer = None if left is None else now + left

    def _check_peer(self) -> None:
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise DtlsError("the client sent no certificate")
        known = [(name, value) for name, value in self._fingerprints if name in DIGESTS]
        if not known or not all(
            hmac.compare_digest(certificate_digest(certificate, name).upper(), value.upper()) for name, value in known
        ):
            raise DtlsError("the client's certificate is not the one its offer gives the fingerprint of")

    def _take_keys(self) -> Keys:
        ssl = self._ssl
        profile = ssl.get_selected_srtp_profile().decode()
        if profile not in srtp.PROFILES:
            raise DtlsError(f"no SRTP profile in common: the client chose {profile or 'none'}")
        material = ssl.export_keying_material(EXPORTER_LABEL, srtp.key_material_length(profile))
        of_client, of_server = srtp.split_key_material(profile, material)
        local, remote = (of_client, of_server) if self._client else (of_server, of_client)
        suite = ssl.get_cipher_name() or ""
        if suite not in SUITES:
            raise DtlsError(f"DTLS cipher {suite!r} is none of {', '.join(SUITES)}")
        key, nonce, digest = SUITES[suite]
        # RFC 5246 section 6.3. The session's master key is the extended one where that was negotiated.
        seed = ssl.server_random() + ssl.client_random()  # type: ignore[operator]
        block = _prf(ssl.master_key() or b"", b"key expansion", seed, 2 * (key + nonce), digest)
        dtls = DtlsState(suite, self._client, block, self._write_sequence, self._read_highest, self._read_window)
        return Keys(SrtpState(profile, local, remote), dtls)


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


def _epoch_one(datagram: bytes) -> list[int]:
    """Sequence numbers of the encrypted records in a datagram: the record layer continues after them."""
    found = []
    position = 0
    while position + 13 <= len(datagram):
        if datagram[position + 3 : position + 5] == b"\0\1":
            found.append(int.from_bytes(datagram[position + 5 : position + 11], "big"))
        position += 13 + int.from_bytes(datagram[position + 11 : position + 13], "big")
    return found
