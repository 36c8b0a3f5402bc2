"""What a caller's microphone picks up of the tone that tells of a recording is not taken for speech."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest

from antiphon.inference_bridge.models.sources import silero_file
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE, WINDOW

pytestmark = [pytest.mark.pure, pytest.mark.models]


@pytest.mark.parametrize("level", [3000, 9000, 24000])
@pytest.mark.parametrize("noise", [0, 200])
def test_the_tone_is_no_speech_at_any_level(level: int, noise: int) -> None:
    """As the transceiver sounds it (`antiphon.transceiver.media.consent_tone`): 1,400 Hz for 0.2 s."""
    step = 2 * math.pi * 1400 / RATE
    tone = np.array(array("h", (round(level * math.sin(step * n)) for n in range(RATE // 5))), dtype=np.float64)
    room = np.concatenate([np.zeros(RATE), tone, np.zeros(RATE)])
    room += np.random.default_rng(1).normal(0, noise, len(room))
    pcm = np.clip(room, -32768, 32767).astype("<i2").tobytes()
    heard = VoiceActivity(silero_file(None, "")).stream()
    size = 2 * WINDOW
    likely = [heard.probability(pcm[at : at + size]) for at in range(0, len(pcm) - size, size)]
    assert max(likely) < TurnSettings().threshold / 2
