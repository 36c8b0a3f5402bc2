"""The header `Retry-After` (RFC 9110, 10.2.3), as all clients of this process read it. Pure."""

from __future__ import annotations

import email.utils


def seconds_of(retry_after: str, now: float) -> float | None:
    """What it asks for, a number of seconds or a date; None for neither. `now`: Unix time."""
    text = retry_after.strip()
    if text.replace(".", "", 1).isdecimal():
        return min(float(text), 1e9)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
