"""Audio of an author's own as parts of an answer: of a bounded size, each with its share of the words. Pure."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator
from typing import Final, cast

from antiphon.agent.pcm import SpeechInput
from antiphon.schemas.messages import AudioRate, ReplySpeech
from antiphon.schemas.messages.replies import MAX_SPEECH_PART, MAX_TEXT_PART

_SLICE: Final = 0.25
"""Seconds that are resampled before other answers get the event loop: 25 ms of the processor."""


async def speech_parts(speech: SpeechInput, pcm: bytes, rate: int, words: str) -> AsyncGenerator[ReplySpeech, None]:
    """`pcm`: s16le mono at `rate` Hz. The words of all parts, one behind the other, are `words`."""
    pieces = re.findall(r"\S+\s*|\s+", words[:MAX_TEXT_PART])
    step = 2 * max(1, int(rate * _SLICE))
    waiting, sent = bytearray(), 0
    for at in range(0, len(pcm), step):
        waiting += speech.take(pcm[at : at + step])
        last = at + step >= len(pcm)
        if last or len(waiting) + 4 * step > MAX_SPEECH_PART:
            upto = len(pieces) if last else round(len(pieces) * (at + step) / len(pcm))
            yield ReplySpeech(
                number=0,
                pcm=base64.b64encode(waiting).decode(),
                rate=cast(AudioRate, speech.frame_rate),
                words="".join(pieces[sent:upto]),
            )
            waiting, sent = bytearray(), upto
        await asyncio.sleep(0)
