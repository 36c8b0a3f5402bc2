"""What came of the turns and sounds of a run, as numbers with intervals. Pure.

- **cut-in**: the agent was to be heard before the true end of the caller's turn.
- **gap**: from the true end to the first audio of the answer at the caller; beside it, to the decision.
- **mix**: the same turns weighed so that one in five has a pause inside, as in ordinary calls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

PAUSED_SHARE: Final = 0.2
_ROUNDS: Final = 400
"""Of the bootstrap that gives the intervals of percentiles."""
_Z: Final = 1.96


@dataclass(frozen=True)
class TurnOutcome:
    """One turn. A value; seconds."""

    kind: str
    paused: bool
    cut_in: bool
    ended_early: bool
    """Decided before the true end; a cut-in if the caller did not go on before the answer."""
    missed: bool
    """No end within the time that follows the turn."""
    gap_s: float | None
    """None for a turn that was cut or whose end was missed."""
    decision_s: float | None
    words: int = 0
    words_lost: int = 0
    language: str = "en"
    text: str = ""


@dataclass(frozen=True)
class OverlapOutcome:
    """One sound over the agent's speech. A value."""

    kind: str
    interrupts: bool
    """It was meant to."""
    stopped_s: float | None
    """From its beginning to the stop of the agent; None: the agent spoke on."""
    text: str = ""


def share(found: int, of: int) -> dict[str, Any]:
    """A share in per cent with its 95 % interval (Wilson)."""
    if not of:
        return {"percent": None, "of": 0}
    p = found / of
    middle = (p + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    half = _Z * math.sqrt(p * (1 - p) / of + _Z**2 / (4 * of**2)) / (1 + _Z**2 / of)
    interval = [round(100 * max(0.0, middle - half), 1), round(100 * min(1.0, middle + half), 1)]
    return {"percent": round(100 * p, 1), "of": of, "interval": interval}


def _weighed(values: Sequence[tuple[float, float]], percent: float) -> float:
    """The percentile of (value, weight) pairs."""
    ordered = sorted(values)
    total = sum(weight for _, weight in ordered) * percent / 100
    passed = 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= total:
            return value
    return ordered[-1][0]


def _gaps(values: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """p50 and p95 in ms with 95 % intervals (bootstrap); None without values."""
    if not values:
        return {"p50": None, "p95": None}
    chance, found = random.Random(1), dict[str, Any]()
    again = [chance.choices(values, k=len(values)) for _ in range(_ROUNDS)]
    for percent in (50, 95):
        rounds = sorted(_weighed(each, percent) for each in again)
        found[f"p{percent}"] = round(_weighed(values, percent) * 1000)
        found[f"p{percent}_interval"] = [round(rounds[int(_ROUNDS * at)] * 1000) for at in (0.025, 0.975)]
    return found


def turns_report(outcomes: Sequence[TurnOutcome]) -> dict[str, Any]:
    """All numbers of a run's turns."""
    paused = [each for each in outcomes if each.paused]
    plain = [each for each in outcomes if not each.paused]

    def cut(some: Sequence[TurnOutcome]) -> int:
        return sum(each.cut_in for each in some)

    weights = {True: PAUSED_SHARE / max(1, len(paused)), False: (1 - PAUSED_SHARE) / max(1, len(plain))}
    mix = 100 * (weights[True] * cut(paused) + weights[False] * cut(plain))
    half = 100 * (0.5 * cut(paused) / max(1, len(paused)) + 0.5 * cut(plain) / max(1, len(plain)))
    answered = [each for each in outcomes if each.gap_s is not None and each.decision_s is not None]
    words = sum(each.words for each in outcomes)
    kinds = sorted({each.kind for each in outcomes})
    return {
        "turns": len(outcomes),
        "cut_ins": share(cut(outcomes), len(outcomes)),
        "cut_ins_with_pauses": share(cut(paused), len(paused)),
        "cut_ins_without_pauses": share(cut(plain), len(plain)),
        "cut_ins_mix_percent": round(mix, 1),
        "cut_ins_half_paused_percent": round(half, 1),
        "ended_early_percent": share(sum(each.ended_early for each in outcomes), len(outcomes))["percent"],
        "missed_ends": share(sum(each.missed for each in outcomes), len(outcomes)),
        "missed_ends_over_background": share(
            sum(each.missed for each in outcomes if each.kind == "background"),
            sum(each.kind == "background" for each in outcomes),
        ),
        "gap_ms": _gaps([(each.gap_s or 0.0, 1.0) for each in answered]),
        "gap_mix_ms": _gaps([(each.gap_s or 0.0, weights[each.paused]) for each in answered]),
        "decision_ms": _gaps([(each.decision_s or 0.0, 1.0) for each in answered]),
        "words_lost_percent": round(100 * sum(each.words_lost for each in outcomes) / words, 1) if words else None,
        "cut_ins_by_kind": {
            kind: f"{cut(some)} of {len(some)}" for kind in kinds if (some := [e for e in outcomes if e.kind == kind])
        },
    }


WITHIN_S: Final = 0.5


def overlaps_report(outcomes: Sequence[OverlapOutcome]) -> dict[str, Any]:
    """Precision and recall of interruptions within half a second of overlap."""
    stopped = [each for each in outcomes if each.stopped_s is not None]
    meant = [each for each in outcomes if each.interrupts]
    in_time = [each for each in meant if each.stopped_s is not None and each.stopped_s <= WITHIN_S]
    right = [each for each in stopped if each.interrupts]
    times = [(each.stopped_s, 1.0) for each in right if each.stopped_s is not None]
    kinds = sorted({each.kind for each in outcomes})
    return {
        "sounds": len(outcomes),
        "precision": share(len(right), len(stopped)),
        "recall_within_500_ms": share(len(in_time), len(meant)),
        "recall": share(len(right), len(meant)),
        "stop_ms": _gaps(times),
        "stopped_by_kind": {
            kind: f"{sum(e.stopped_s is not None for e in some)} of {len(some)}"
            for kind in kinds
            if (some := [each for each in outcomes if each.kind == kind])
        },
    }
