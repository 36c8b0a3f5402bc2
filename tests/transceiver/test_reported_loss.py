"""Small loss counts by the mean of some reports, large loss at once: FEC costs as much as several calls."""

from __future__ import annotations

import random

import pytest

from antiphon.rtc.media.opus import FEC_WORTH
from antiphon.transceiver.media.reported_loss import REPORTS, ReportedLoss

pytestmark = pytest.mark.pure

PACKETS = 50
"""Of a report: browsers send one a second."""


def share_with_fec(percent: float, reports: int = 4000) -> float:
    """Of the time, where each packet is lost with this chance."""
    chance, loss, on = random.Random(3), ReportedLoss(), 0
    for _ in range(reports):
        lost = sum(chance.random() < percent / 100 for _ in range(PACKETS))
        on += loss.reported(lost * 256 // PACKETS) >= FEC_WORTH
    return on / reports


def test_at_two_percent_calls_are_mostly_without_fec_and_at_five_nearly_always_with_it() -> None:
    assert share_with_fec(1) < 0.02
    assert share_with_fec(2) < 0.1
    assert share_with_fec(5) > 0.9


def test_large_loss_counts_at_once_and_falls_slowly() -> None:
    loss = ReportedLoss()
    assert loss.reported(64) == 25
    assert [loss.reported(0) for _ in range(3)] == [18, 13, 9]
    assert loss.reported(256) == 30


def test_steady_loss_counts_in_full_after_as_many_reports_as_the_mean_has() -> None:
    loss = ReportedLoss()
    assert [loss.reported(13) for _ in range(REPORTS)] == [0, 1, 1, 2, 3, 3, 4, 5]
