"""What a check of the doctor returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check. A value."""

    check: str
    """The thing that was checked, such as `nats`."""
    state: Literal["ok", "fail", "note"]
    """`note`: nothing is broken, but something is worth knowing."""
    message: str
    """What was found."""
    fix: str = ""
    """What to do about it; empty where nothing is to be done."""
