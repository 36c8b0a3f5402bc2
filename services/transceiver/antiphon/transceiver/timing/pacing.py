"""How often the process wakes up: the constants of `wheel` and `pulse`, which belong together.

A wakeup costs as much as a packet, and a frame among others half of one alone, so what is visited and what is read
should come in few and full turns. `antiphon bench transceiver` measures what these are worth (docs/transceiver.md).
"""

from __future__ import annotations

from typing import Final

PERIOD: Final = 0.020
"""Seconds from visit to visit: a frame."""
SLOTS: Final = 20
"""Of a period: who is visited together. 4 slots, with a pulse as long from a quarter of the time busy, cost up to a
quarter less at 50 sessions; that as many sessions stay in time with them is not shown (docs/transceiver.md)."""
STEP: Final = PERIOD / SLOTS
MAX_SHARED: Final = 12
"""Visitors of a slot that is joined to save a wakeup."""
SPEECH_TOLERANCE: Final = 0.003
"""Seconds beyond a slot that a reply may start later where that saves a wakeup of its own per period."""
INPUT_TOLERANCE: Final = 0.019
"""The same for gaps and pauses of callers, which are looked at once per period, no matter when."""
COALESCING_WINDOW: Final = 0.002
"""Seconds within which packets are taken up together while the loop is busy."""
COALESCE_ABOVE: Final = 0.5
"""Share of the time from which on the loop waits for company, and below 0.8 of which it no longer does."""
