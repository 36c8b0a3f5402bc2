"""A question that the demo clinic answers alike on every day of the week."""

from __future__ import annotations

from datetime import datetime
from typing import Final

DAY: Final = "Tuesday" if datetime.now().astimezone().weekday() != 1 else "Thursday"
"""The clinic is open on it and half past ten is free; and it is not today, which has slots in the past."""
BOOKING: Final = f"I would like to book an appointment for {DAY} at half past ten."
