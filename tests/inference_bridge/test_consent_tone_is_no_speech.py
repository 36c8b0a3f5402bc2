"""What a caller's microphone picks up of the tone that tells of a recording is not taken for speech."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.inference_bridge.models.sources import silero_file
from antiphon.inference_bridge.models.voice_activity import VoiceActivity
from antiphon.inference_bridge.turns.turn_settings import TurnSettings
from antiphon.inference_bridge.turns.window import RATE, WINDOW
from antiphon.rtc.media.consent_tone import ConsentTone

pytestmark = [pytest.mark.pure, pytest.mark.models]


@pytest.mark.parametrize("louder", [0.3, 1.0, 8.0])
@pytest.mark.parametrize("noise", [0, 200])
def test_the_tone_is_no_speech_at_any_level(louder: float, noise: int) -> None:
    tone = ConsentTone(15.0)
    tone.begin_if_due(0.0)
    sent = b""
    while tone.sounds:
        sent += tone.take(RATE)
    graph = VoiceActivity(silero_file(None, ""))
    for shift in range(0, WINDOW, WINDOW // 4):
        room = np.concatenate([np.zeros(RATE + shift), louder * np.frombuffer(sent, np.int16), np.zeros(RATE)])
        room += np.random.default_rng(1).normal(0, noise, len(room))
        pcm, size = np.clip(room, -32768, 32767).astype("<i2").tobytes(), 2 * WINDOW
        heard = graph.stream()
        likely = [heard.probability(pcm[at : at + size]) for at in range(0, len(pcm) - size, size)]
        assert max(likely) < TurnSettings().threshold
