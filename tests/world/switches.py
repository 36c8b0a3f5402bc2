"""Which parts of Global Relay the processes are started with. A scenario that needs one that is off is left out.

Each is off until the services have it. To switch one on, add it to `SWITCHED_ON`.
"""

from __future__ import annotations

from typing import Final

HUB: Final = "hub"
"""Three servers of a hub, and each region's NATS joined to it as a leaf node: announcements cross."""
TWO_HOPS: Final = "two-hops"
"""Relays have a backbone, and know clusters other than their own. Needs HUB."""
COPIES: Final = "copies"
"""Calls are copied to a second region, which adopts them. Needs HUB."""

SWITCHED_ON: Final[frozenset[str]] = frozenset()
