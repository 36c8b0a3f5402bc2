"""Which parts of Global Relay the processes are started with. A scenario that needs one that is off is left out.

Each is off until the services have it. The variable `WORLD_SWITCHES` (names with commas between) takes the place of
`DEFAULT`, to try one.
"""

from __future__ import annotations

import os
from typing import Final

HUB: Final = "hub"
"""Three servers of a hub, and each region's NATS joined to it as a leaf node: announcements cross."""
TWO_HOPS: Final = "two-hops"
"""Relays have a backbone, and know clusters other than their own. Needs HUB."""
COPIES: Final = "copies"
"""Calls are copied to a second region, which adopts them. Needs HUB."""

DEFAULT: Final = ""
SWITCHED_ON: Final = frozenset(filter(None, os.environ.get("WORLD_SWITCHES", DEFAULT).split(",")))
if unknown := SWITCHED_ON - {HUB, TWO_HOPS, COPIES}:
    raise SystemExit(f"WORLD_SWITCHES: there is no {', '.join(sorted(unknown))}")
if SWITCHED_ON and not {HUB, TWO_HOPS} <= SWITCHED_ON:
    # With a hub alone signaling offers transceivers of regions that its relays do not reach.
    raise SystemExit("WORLD_SWITCHES: hub and two-hops go together, and copies needs both")
