"""The certificate of a process, which its clients know by the fingerprint in the answer, and when it is replaced.

Certificate and OpenSSL context come from aiortc.
"""

from __future__ import annotations

from typing import Final

from aiortc import RTCCertificate

from antiphon.rtc.dtls.aiortc_internals import ssl_context
from antiphon.rtc.dtls.cipher_suites import DTLS_1_2, SUITES

CERTIFICATE_LIFETIME: Final = 24 * 3600.0
"""Seconds. A stolen key is of use for that long, and calls of different days can't be linked to one server."""

KEPT_AFTER_RENEWAL: Final = 60.0
"""Seconds: an answer may be older than the renewal, where its client connects later (a prepared call)."""


class Certificate:
    """A self-signed certificate and the OpenSSL context made from it.

    Immutable. Sessions share it; each keeps it until its handshake is done.
    """

    def __init__(self) -> None:
        self._certificate = RTCCertificate.generateCertificate()
        self.fingerprint = next(
            print_.value for print_ in self._certificate.getFingerprints() if print_.algorithm == "sha-256"
        )
        self.context = ssl_context(self._certificate)
        self.context.set_max_proto_version(DTLS_1_2)
        self.context.set_cipher_list(":".join(SUITES).encode())


class CurrentCertificate:
    """The certificate of new sessions; running ones keep theirs. Owner: the process; called on its event loop only."""

    def __init__(self, now: float) -> None:
        self._certificate, self._made_at = Certificate(), now
        self._former: Certificate | None = None

    def at(self, now: float) -> Certificate:
        """Made anew when it is older than `CERTIFICATE_LIFETIME`."""
        if now - self._made_at > CERTIFICATE_LIFETIME:
            self._former = self._certificate
            self._certificate, self._made_at = Certificate(), now
        return self._certificate

    def of(self, fingerprint: str, now: float) -> Certificate | None:
        """The one that an answer named so, if that is at most `KEPT_AFTER_RENEWAL` old; None: it is gone."""
        if self.at(now).fingerprint == fingerprint:
            return self._certificate
        if now - self._made_at > KEPT_AFTER_RENEWAL:
            self._former = None
        return self._former if self._former is not None and self._former.fingerprint == fingerprint else None
