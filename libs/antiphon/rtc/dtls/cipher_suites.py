"""The DTLS version and the cipher suites that are negotiated, with what the record layer needs of each."""

from __future__ import annotations

from typing import Final

DTLS_1_2: Final = 0xFEFD
SUITES: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": (16, 4, "sha256"),
    "ECDHE-RSA-AES128-GCM-SHA256": (16, 4, "sha256"),
    "ECDHE-ECDSA-CHACHA20-POLY1305": (32, 12, "sha256"),
    "ECDHE-RSA-CHACHA20-POLY1305": (32, 12, "sha256"),
}
"""OpenSSL's name -> octets of the AEAD key, octets of the implicit nonce, hash of the PRF."""
