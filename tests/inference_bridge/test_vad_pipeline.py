"""What a commit is about: the audio that came before it, also where that came faster than it is judged."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest

from antiphon.inference_bridge.input.vad_pipeline import (
    MAX_FRAMES,
    WORDS_OF_ECHO,
    WORDS_PAST_CANCELLER,
    VadPipeline,
)
from antiphon.inference_bridge.models.voice_activity import VoiceActivityStream
from antiphon.runtime.echo.canceller import Cleaned, EchoCanceller
from antiphon.runtime.echo.delay import Delay
from antiphon.schemas.audio import AudioFrame

pytestmark = pytest.mark.virtual


class LateExecutor:
    """Runs each call a second after it was asked for, as a machine without time does."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        asyncio.get_running_loop().call_later(1.0, lambda: future.set_result(function(*arguments)))
        return future


class Voice:
    """Every window is speech."""

    def probability(self, pcm: bytes) -> float:
        return 0.9

    def reset(self) -> None: ...


class Echo:
    """Leaves all audio as it is."""

    found: Delay | None = None
    is_likely = True

    def is_idle(self, frame: AudioFrame) -> bool:
        return False

    def clean(self, frame: AudioFrame) -> Cleaned:
        return Cleaned(frame.pcm, frame.pcm)


class Nobody:
    def on_turn_event(self, event: object) -> None: ...
    def on_tick(self, now: float) -> None: ...


def pipeline(echo: Echo | None = None) -> VadPipeline:
    stream, executor = cast(VoiceActivityStream, Voice()), cast(ThreadPoolExecutor, LateExecutor())
    return VadPipeline(stream, executor, None, echo=cast(EchoCanceller, echo) if echo else None)


def push(vad: VadPipeline, frames: int) -> None:
    pcm = array("h", [3000, -3000] * 160).tobytes()
    for number in range(frames):
        vad.push(AudioFrame(number, number * 320, 0, 16000, 0, 0, pcm))


async def test_a_commit_takes_all_audio_that_came_before_it() -> None:
    vad = pipeline()
    listening = asyncio.create_task(vad.listen(Nobody()))
    push(vad, 100)
    await vad.caught_up(5)
    utterance = vad.turns.commit()
    assert utterance is not None
    assert vad.position >= 100 * 320 - 512
    listening.cancel()


async def test_a_commit_waits_for_what_is_judged_too_late_for_a_bounded_time() -> None:
    vad = pipeline()
    listening = asyncio.create_task(vad.listen(Nobody()))
    push(vad, MAX_FRAMES + 50)  # the oldest are dropped
    async with asyncio.timeout(1.5):
        await vad.caught_up(5)
    push(vad, 10)
    async with asyncio.timeout(0.5):
        await vad.caught_up(0.3)
    listening.cancel()


async def test_words_are_an_echos_where_one_was_likely_while_they_were_spoken() -> None:
    echo = Echo()
    vad = pipeline(echo)
    listening = asyncio.create_task(vad.listen(Nobody()))
    push(vad, 100)
    await vad.caught_up(5)
    utterance = vad.turns.commit()
    assert utterance is not None
    assert vad.words_of_echo(utterance) == WORDS_OF_ECHO
    later = replace(utterance, first_sample=100 * 320)
    assert vad.words_of_echo(later) is None
    echo.found = Delay(0.1, 12.0)
    assert vad.words_of_echo(later) == WORDS_PAST_CANCELLER
    assert pipeline().words_of_echo(utterance) is None
    listening.cancel()
