"""The tokens at the end of inboxes: who knows one may answer there."""

from __future__ import annotations

import secrets

from nats.nuid import NUID


class RandomTokens(NUID):
    """What stands at the end of an inbox, and therefore who may answer there. Owned by one client."""

    def next(self) -> bytearray:
        """As long as nats-py's, 22 characters: 128 bits of the system's randomness."""
        return bytearray(secrets.token_urlsafe(16).encode())
