"""What of a reply the caller has heard, and how much waits."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.conversation.playout_tracking import Backlog, SpeechLedger

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("played", "heard"),
    [
        (0, ""),
        (999, ""),
        (1000, "Sure,"),
        (1500, "Sure,"),
        (3500, "Sure, I have"),
        (5000, "Sure, I have one slot."),
        (9000, "Sure, I have one slot."),
    ],
)
def test_what_was_heard_follows_from_the_samples_played(played: int, heard: str) -> None:
    ledger = SpeechLedger()
    ledger.add("Sure,", 0, 1000)
    ledger.add("I have one slot.", 1000, 3000)
    assert ledger.samples == 5000
    assert ledger.heard(played) == heard


def test_the_backlog_shrinks_with_time_and_believes_the_last_report() -> None:
    backlog = Backlog()
    backlog.sent(1000, 10.0)
    assert backlog.queued_ms(10.25) == 750
    backlog.sent(1000, 10.5)
    assert backlog.queued_ms(10.5) == 1500
    backlog.reported(200, 10.6)
    assert backlog.queued_ms(10.7) == pytest.approx(100)
    assert backlog.queued_ms(20.0) == 0
