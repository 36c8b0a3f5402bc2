"""What is wrong with an author's code is told where it is written, with the line and the way out."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from antiphon.agent import Agent, Session
from antiphon.agent.pcm import SPEECH_RATES, SpeechInput

pytestmark = pytest.mark.pure


async def talk(session: Session) -> None: ...
async def talk_with(session: Session, more: int = 3) -> None: ...
def plain(session: Session) -> None: ...
async def without_parameter() -> None: ...
async def with_two(session: Session, other: int) -> None: ...
async def by_name_only(*, session: Session) -> None: ...
async def generator(session: Session) -> Any:
    yield session


class Callable_:
    async def __call__(self, session: Session) -> None: ...


class Plain:
    def __call__(self, session: Session) -> None: ...


@pytest.mark.parametrize("function", [talk, talk_with, Callable_(), functools.partial(talk_with, more=4)])
def test_what_can_be_awaited_with_a_session_is_registered_in_both_forms(function: Callable[..., Any]) -> None:
    assert Agent("one").session(function) is function
    assert Agent("two").session()(function) is function


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (plain, "write `async def plain(session: Session)`"),
        (Plain(), "write `async def"),
        (lambda session: None, "write `async def talk(session: Session)`"),
        (without_parameter, "write `async def without_parameter(session: Session)`"),
        (with_two, "other"),
        (by_name_only, "can't be called with a session"),
        (generator, "yields nothing"),
        ("talk", "it was given str 'talk'"),
        (3, "it was given int 3"),
        (talk, "it has a function already, talk"),
    ],
)
def test_what_can_not_is_refused_at_the_decorator_with_its_line(function: Any, says: str) -> None:
    agent = Agent("desk")
    if function is talk:
        agent.session(talk)
    with pytest.raises(TypeError, match="agent desk: ") as error:
        agent.session(function)
    assert says in str(error.value)
    if hasattr(function, "__code__") and function is not talk:
        assert f"{__file__}:{function.__code__.co_firstlineno}" in str(error.value)


@pytest.mark.parametrize("name", ["my agent", "", "a.b", "é", "a" * 65, "*"])
def test_a_name_that_no_subject_can_hold_is_refused_by_the_constructor(name: str) -> None:
    with pytest.raises(ValueError, match="agent name"):
        Agent(name)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4222", "nats://", "127.0.0.1:port", "nats://a b"])
def test_an_address_that_is_none_ends_the_agent_with_the_variable_s_name(url: str) -> None:
    program = "from antiphon.agent import Agent\na = Agent('echo')\n@a.session\nasync def f(s): ...\na.run()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ANTIPHON_NATS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "agent echo: ANTIPHON_NATS_URL: " in done.stderr
    assert "Traceback" not in done.stderr


# ---- speech that an author writes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros(480, np.float32), "numpy.ndarray of float32"),
        (np.zeros(480, np.int16), "numpy.ndarray of int16"),
        ([0.0, 0.5], "list of float"),
        ((1, 2), "tuple of int"),
        ("UklGRg==", "str"),
        (None, "NoneType"),
    ],
)
def test_speech_that_is_no_bytes_is_refused_with_its_format_and_the_way_out(given: object, says: str) -> None:
    with pytest.raises(TypeError, match="expected bytes, samples of 16 bits") as error:
        SpeechInput(24000).take(given)
    assert f"speech as {says}:" in str(error.value)
    if says.startswith(("numpy", "list", "tuple")):
        assert ".astype('<i2').tobytes()" in str(error.value)


def test_the_way_out_for_floats_is_right() -> None:
    samples = np.array([0.0, 1.0, -1.0])
    pcm = (samples * 32767).clip(-32768, 32767).astype("<i2").tobytes()
    assert SpeechInput(24000).take(memoryview(pcm)) == pcm


@pytest.mark.parametrize("rate", [11025, 22050, 44100])
def test_voices_of_other_rates_are_resampled_without_a_change_of_pitch_or_length(rate: int) -> None:
    tone = (np.sin(np.arange(rate) * 2 * np.pi * 1000 / rate) * 20000).astype("<i2").tobytes()
    speech = SpeechInput(rate)
    step = rate // 50 * 2
    out = np.frombuffer(b"".join(speech.take(tone[at : at + step]) for at in range(0, len(tone), step)), "<i2")
    assert abs(len(out) - speech.frame_rate) <= 12
    middle = out[500:-500].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * speech.frame_rate / len(middle) - 1000) < 2
    assert np.sqrt((middle**2).mean()) == pytest.approx(20000 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("rate", [0, 8001, 96000, -24000])
def test_a_strange_rate_is_refused_with_those_that_there_are(rate: int) -> None:
    with pytest.raises(ValueError, match=f"speech at {rate} Hz") as error:
        SpeechInput(rate)
    assert all(str(each) in str(error.value) for each in SPEECH_RATES)
