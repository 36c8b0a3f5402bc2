"""The version and the cipher suites of DTLS that are negotiated, and what the key block of each is cut into."""

from __future__ import annotations

from typing import Final

DTLS_1_2: Final = 0xFEFD
# cipher -> (AEAD key, implicit nonce, hash of the PRF): what the key block is cut into
SUITES: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": (16, 4, "sha256"),
    "ECDHE-RSA-AES128-GCM-SHA256": (16, 4, "sha256"),
    "ECDHE-ECDSA-CHACHA20-POLY1305": (32, 12, "sha256"),
    "ECDHE-RSA-CHACHA20-POLY1305": (32, 12, "sha256"),
}
