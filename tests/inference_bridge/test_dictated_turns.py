"""A caller who dictates in groups is answered once, behind the last of them: a real bridge, a caller in real time."""

from __future__ import annotations

import numpy as np
import pytest
from nats.aio.client import Client
from support.processes.bridge import Samples, Speak

from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [pytest.mark.process, pytest.mark.models]


def with_pauses(speak: Speak, *parts: str | float) -> Samples:
    """Texts are spoken, numbers are seconds of silence."""
    silent = [np.zeros(int(part * 16000), dtype=np.int16) if isinstance(part, float) else speak(part) for part in parts]
    return np.concatenate(silent)


async def test_a_number_in_groups_with_pauses_of_a_second_is_one_turn(quiet_bridge: Client, speak: Speak) -> None:
    async with FakeTransceiver(quiet_bridge, "concierge") as call:
        dictated = with_pauses(speak, "My number is five five five,", 0.9, "zero one,", 1.2, "two three.")
        await call.say(dictated)
        assert not call.of_type("response.created"), "it was answered in the middle"
        await call.wait_for("response.created")
        assert len(call.of_type("input_audio_buffer.committed")) == 1
