"""How often the process wakes up: the constants of `timing_wheel` and `coalescing_selector`, which belong together.

A wakeup costs as much as a packet, and a frame among others half of what one alone costs. So visits and packets are
handled together, in few iterations of the loop. `antiphon bench transceiver` measures it (docs/transceiver.md).
"""

from __future__ import annotations

from typing import Final

PERIOD: Final = 0.020
"""Seconds between two visits: the length of a frame."""
SLOTS: Final = 20
"""Slots of a period; all visitors of a slot are visited together."""
STEP: Final = PERIOD / SLOTS
SLOTS_PER_TICK: Final = 5
"""While the loop is busy so many slots are visited together, at the time of the last of them: 4 wakeups in a period. A
divisor of `SLOTS`, so that each visitor keeps its place in the period and its packets stay evenly spaced."""
MAX_SHARED: Final = 12
"""Visitors of a slot up to which another one joins it to save a wakeup."""
SPEECH_TOLERANCE: Final = 0.003
"""Seconds by which a reply may start later if that saves a wakeup per period."""
INPUT_TOLERANCE: Final = 0.019
"""The same for gaps and pauses of callers: they need one visit per period, at any time in it."""
COALESCING_WINDOW: Final = STEP * SLOTS_PER_TICK
"""Seconds within which packets are handled together while the loop is busy: what has come is read just before the
visits."""
COALESCE_ABOVE: Final = 0.2
"""Busy share above which wakeups are coalesced. Below it each packet is taken up at once, each slot has its wakeup."""
COALESCE_UNTIL: Final = 0.5
"""Of `COALESCE_ABOVE`: below that share wakeups are no longer coalesced. Coalescing itself saves up to 40 %: a closer
bound would turn it off and on again all the time."""
