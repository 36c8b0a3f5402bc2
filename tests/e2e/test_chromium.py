"""The page in headless Chromium, with a spoken question as its microphone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page, wait_for
from support.conditions import wait_until
from support.models.bookings import BOOKING, DAY
from support.models.voice import Samples, decode_stereo_wav, say, silence, transcribe, words, write_microphone
from support.processes.stack import Stack

pytestmark = [pytest.mark.realtime, pytest.mark.models]

GREETING = 9.0
"""Seconds that the greeting is given before the question is asked."""


def start_call(page: Page, url: str, agent: str) -> None:
    """As a user: choose the agent, press the one button."""
    page.goto(url)
    wait_for(page, "document.querySelector('#agent').options.length > 0")
    page.select_option("#agent", agent)
    page.get_by_role("button", name="Start call").click()
    wait_for(page, "['listening', 'speaking'].includes(window.antiphon.state)", seconds=20)
    page.evaluate("window.antiphon.recorder.start()")


KEEP_TRACKS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.tracks = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  window.tracks.push(...stream.getAudioTracks());
  return stream;
};
"""


def recorded_agent(page: Page) -> tuple[Samples, int]:
    """What the page played since `start_call`."""
    _, agent, rate = decode_stereo_wav(page.evaluate("window.antiphon.recorder.stop()"))
    return agent, rate


def test_a_spoken_question_is_answered_and_both_transcripts_are_shown(stack: Stack, tmp_path: Path) -> None:
    asked = say(BOOKING)
    microphone = write_microphone(tmp_path / "question.wav", silence(GREETING), asked, silence(30))
    with chromium_page(microphone) as page:
        start_call(page, stack.url, "concierge")
        wait_for(
            page,
            "window.antiphon.transcripts.some(item => item.role === 'user' && item.text.includes('appointment'))",
            seconds=60,
        )
        wait_for(
            page,
            "window.antiphon.transcripts.some(item => item.role === 'assistant' && item.final"
            " && item.text.includes('10:30'))",
            seconds=30,
        )
        wait_for(page, "window.antiphon.state === 'listening'", seconds=30)
        agent, rate = recorded_agent(page)
        shown = page.locator("#conversation").inner_text()
        numbers = page.evaluate("window.antiphon.numbers")
        page.get_by_role("button", name="End call").click()
        wait_for(page, "window.antiphon.state === 'ended'")
    # The greeting comes first; Whisper hears at most half a minute at once.
    heard = set(words(transcribe(agent[-20 * rate :], rate)))
    assert {DAY.lower(), "anything", "else"} <= heard, heard
    assert "appointment" in shown
    assert "10:30" in shown
    assert numbers["setup_ms"] > 0
    assert numbers["answers_ms"], "the page measured no answer"


@pytest.mark.nightly
def test_the_echo_plug_in_can_be_chosen_and_hears_the_next_microphone_too(stack: Stack, tmp_path: Path) -> None:
    microphone = write_microphone(
        tmp_path / "speech.wav", silence(3), say("The quick brown fox jumps over the lazy dog."), silence(30)
    )
    with chromium_page(microphone) as page:
        page.add_init_script(KEEP_TRACKS)
        start_call(page, stack.url, "echo")
        wait_for(page, "window.antiphon.state === 'speaking'", seconds=30)
        wait_for(page, "window.antiphon.state === 'listening'", seconds=30)
        agent, rate = recorded_agent(page)
        # The microphone is lost: the same call goes on with the next one, which reads the file from its beginning.
        page.evaluate("window.tracks[0].stop()")
        wait_for(page, "window.tracks.length === 2 && window.antiphon.microphone.state === 'working'", seconds=30)
        wait_for(page, "window.antiphon.state === 'speaking'", seconds=30)
        page.get_by_role("button", name="End call").click()
        wait_for(page, "window.antiphon.state === 'ended'")
    assert {"brown", "fox", "lazy", "dog"} <= set(words(transcribe(agent, rate)))


def test_a_stack_that_ends_is_told_to_the_user(stack: Stack, tmp_path: Path) -> None:
    microphone = write_microphone(tmp_path / "quiet.wav", silence(30))
    with chromium_page(microphone) as page:
        start_call(page, stack.url, "echo")
        page.route("**/*", lambda route: route.abort())
        page.get_by_role("button", name="End call").click()
        wait_for(page, "window.antiphon.state === 'ended'")
        page.get_by_role("button", name="Call again").click()
        wait_until(lambda: "server does not answer" in page.get_by_role("alert").inner_text())
