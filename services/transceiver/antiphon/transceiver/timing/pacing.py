"""How often the process wakes up: the constants of `timing_wheel` and `coalescing_selector`, which belong together.

A wakeup costs as much as a packet, and a frame among others half of what one alone costs. So visits and packets are
handled together, in few iterations of the loop. `antiphon bench transceiver` measures it (docs/transceiver.md).
"""

from __future__ import annotations

from typing import Final

PERIOD: Final = 0.020
"""Seconds between two visits: the length of a frame."""
SLOTS: Final = 20
"""Slots of a period; all visitors of a slot are visited together. 4 slots, with a coalescing window as long as a slot
from a quarter of the time busy, cost up to a quarter less at 50 sessions; it is not shown that as many sessions stay in
time with them (docs/transceiver.md)."""
STEP: Final = PERIOD / SLOTS
MAX_SHARED: Final = 12
"""Visitors of a slot up to which another one joins it to save a wakeup."""
SPEECH_TOLERANCE: Final = 0.003
"""Seconds by which a reply may start later if that saves a wakeup per period."""
INPUT_TOLERANCE: Final = 0.019
"""The same for gaps and pauses of callers: they need one visit per period, at any time in it."""
COALESCING_WINDOW: Final = 0.002
"""Seconds within which packets are handled together while the loop is busy."""
COALESCE_ABOVE: Final = 0.5
"""Busy share above which wakeups are coalesced; they no longer are below 0.8 of it (hysteresis)."""
