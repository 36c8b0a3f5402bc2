"""SCTP of an attacker with keys of its own, at a real transceiver for seconds; `make fuzz-live` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.live import attacked

pytestmark = pytest.mark.realtime


async def test_a_caller_that_sends_mutated_sctp_harms_no_other_call(nats_url: str, tmp_path: Path) -> None:
    bench, sent, _ = await attacked(nats_url, tmp_path / "log", 3, 500)
    assert sent > 300
    assert bench.complaints() == []
    assert bench.heard is not None
    sequences = bench.heard.sequences
    assert len(sequences) > 100
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
