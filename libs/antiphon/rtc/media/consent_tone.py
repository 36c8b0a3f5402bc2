"""The tone that tells a caller that the call is recorded: when it sounds, and its samples. Pure.

1,400 Hz for 0.2 s at the call's start and every so many seconds, as telephone recorders sound it. It is mixed into
what leaves for the caller, behind the agent's speech: neither agents nor recordings get it, and no position of played
speech counts it. What the caller's microphone picks up of it is too short and too pure to be taken for speech.

When the next one is due follows from two figures of the session's state, so another process goes on with the same
rhythm.
"""

from __future__ import annotations

import math
from array import array
from functools import cache
from typing import Final

FREQUENCY: Final = 1400
"""Hz: 28 whole periods in a frame of 20 ms at any rate, so that frames join without a click."""
FRAMES: Final = 10
"""0.2 s."""
AMPLITUDE: Final = 3000
"""Of 32767: -21 dB below full scale, well audible and quieter than speech."""
DEFAULT_EVERY: Final = 15.0
MIN_EVERY: Final = 5.0
MAX_EVERY: Final = 300.0
_FADE_SECONDS: Final = 0.010
_LOUDEST: Final = 32767


def seconds_between(setting: str) -> float:
    """`true`, `false` or seconds, as the setting has them; 0: no tone. `ValueError` says what is taken."""
    text = setting.strip().lower()
    if text in ("", "false", "no", "off", "0"):
        return 0.0
    if text in ("true", "yes", "on", "1"):
        return DEFAULT_EVERY
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not MIN_EVERY <= seconds <= MAX_EVERY:
        raise ValueError(
            f"ANTIPHON_CONSENT_TONE is {setting!r:.40}: true, false or seconds between two tones are taken, "
            f"from {MIN_EVERY:g} to {MAX_EVERY:g}"
        )
    return seconds


class ConsentTone:
    """The tones of one call. Owner: its `AudioSender`, or its `WebSocketCall`; called on the event loop only."""

    def __init__(self, every: float) -> None:
        """`every`: seconds from the beginning of one tone to that of the next."""
        self._every = every
        self._begun = 0
        """Tones that have begun since the call's start, or were due before this process had the call."""
        self._frame = FRAMES
        """Of the tone that sounds; `FRAMES`: none does."""

    @property
    def sounds(self) -> bool:
        """There is a frame of a tone to send."""
        return self._frame < FRAMES

    def skip(self, elapsed: float) -> None:
        """Another process had the call until now, `elapsed` seconds after its start: the tones so far were its."""
        self._begun = self._due(elapsed)

    def begin_if_due(self, elapsed: float) -> None:
        """Begin the tone that is due `elapsed` seconds after the call's start. Of several that are due, one sounds."""
        due = self._due(elapsed)
        if due > self._begun:
            self._begun, self._frame = due, 0

    def silence(self) -> None:
        """The client wants no audio: the rest of the tone is dropped."""
        self._frame = FRAMES

    def take(self, rate: int) -> bytes:
        """The next 20 ms of the tone, s16le mono. Only while it `sounds`."""
        self._frame += 1
        return _frame_of_tone(self._frame - 1, rate).tobytes()

    def over(self, pcm: bytes, rate: int) -> bytes:
        """20 ms of speech, s16le mono, with the next 20 ms of the tone over it; louder than can be is cut off."""
        speech, tone = array("h", pcm), _frame_of_tone(self._frame, rate)
        self._frame += 1
        if len(speech) != len(tone):  # an agent's odd frame is sent as it is
            return pcm
        sums = (a + b for a, b in zip(speech, tone, strict=True))
        return array("h", [max(-_LOUDEST - 1, min(_LOUDEST, each)) for each in sums]).tobytes()

    def _due(self, elapsed: float) -> int:
        return int(elapsed // self._every) + 1 if elapsed >= 0 else 0


@cache
def _frame_of_tone(number: int, rate: int) -> array[int]:
    """One of `FRAMES`; the first and the last one have an edge of 10 ms, so that nothing clicks."""
    count, edge = rate // 50, round(rate * _FADE_SECONDS)

    def level(at: int) -> float:
        place = at if number == 0 else count - 1 - at if number == FRAMES - 1 else edge
        return AMPLITUDE * min(1.0, place / edge)

    return array("h", [round(level(at) * math.sin(2 * math.pi * FREQUENCY * at / rate)) for at in range(count)])
