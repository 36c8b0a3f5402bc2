"""All use of aiortc's DTLS transport beyond its public interface, under names of ours. No decisions here.

Certificates, their digests and the OpenSSL context that aiortc makes of them.
`tests/rtc/test_library_internals.py` is the contract: when an upgrade of the library breaks it, change this file.
"""

from __future__ import annotations

from typing import Final

from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    X509_DIGEST_ALGORITHMS,
    certificate_digest,
)
from OpenSSL import SSL

__all__ = ["DIGESTS", "certificate_digest", "ssl_context"]

DIGESTS: Final = frozenset(X509_DIGEST_ALGORITHMS)
"""Names of the algorithms that `certificate_digest` knows."""


def ssl_context(certificate: RTCCertificate) -> SSL.Context:
    """A DTLS context with this certificate that asks the peer for one, and offers SRTP with GCM before SHA-1."""
    return certificate._create_ssl_context([SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80])
