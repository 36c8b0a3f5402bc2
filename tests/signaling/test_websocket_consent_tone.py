"""The consent tone of calls over WebSocket: over the agent's speech, by its clock, and nowhere else."""

from __future__ import annotations

import base64
from array import array

import numpy as np
import pytest
from support.websocket_call import Call, realtime_call

from antiphon.rtc.media.consent_tone import FREQUENCY

pytestmark = pytest.mark.pure

RATE = 24000


def _created(call: Call, number: int) -> None:
    call.agent_says({"type": "response.created", "response": {"id": f"resp_{number}", "output": []}})
    item = {"id": f"item_{number}", "type": "message", "role": "assistant", "content": []}
    fields = {"response_id": f"resp_{number}", "output_index": 0, "item": item}
    call.agent_says({"type": "response.output_item.added", **fields})


def _tones(call: Call) -> list[float]:
    """Seconds of the client's audio at which a tone begins."""
    pcm = array("h", b"".join(base64.b64decode(each["delta"]) for each in call.of("response.output_audio.delta")))
    size = RATE // 50
    loud = []
    for at in range(0, len(pcm) - size + 1, size):
        block = np.asarray(pcm[at : at + size], dtype=float)
        loud.append(abs(np.exp(-2j * np.pi * FREQUENCY * np.arange(size) / RATE) @ block) / size > 200)
    return [n / 50 for n, now in enumerate(loud) if now and not (n and loud[n - 1])]


@pytest.mark.parametrize("every", [0.0, 10.0])
def test_it_sounds_with_the_first_words_and_every_so_many_seconds_of_speech(every: float) -> None:
    call = realtime_call(consent_tone=every)
    _created(call, 1)
    call.speak(25)
    call.run(30)
    # Their clock begins with the call, some tenths of a second before the first word.
    assert _tones(call) == pytest.approx([0.0, 10.0, 20.0] if every else [], abs=0.5)


def test_one_that_was_due_in_silence_comes_once_with_the_next_words() -> None:
    call = realtime_call(consent_tone=10.0)
    _created(call, 1)
    call.speak(2)
    call.run(45)
    _created(call, 2)
    call.speak(2, generation=2)
    call.run(5)
    assert _tones(call) == pytest.approx([0.0, 2.0], abs=0.1)
