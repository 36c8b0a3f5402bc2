"""Kokoro's voices as callers, where they are installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


def voices() -> dict[str, Callable[[str], npt.NDArray[np.int16]]]:
    """By name; empty where they are not installed."""
    return {}
