"""What tests do with the page: connect it, tell it what the agent says, wait for what it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect
from support.processes.signaling import until

Open = Callable[..., Page]
"""Opens the page; see the fixture `open_page`."""

CONVERSATION: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.speech_started", "item_id": "u1"},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "u1"},
    {
        "type": "conversation.item.added",
        "item": {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]},
    },
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u1",
        "transcript": "Could you book me a table for Friday?",
    },
    {"type": "response.created", "response": {"id": "r1"}},
    {
        "type": "response.output_item.added",
        "item": {"id": "a1", "type": "message", "role": "assistant", "status": "in_progress", "content": []},
    },
    {"type": "output_audio_buffer.started", "response_id": "r1"},
    {"type": "response.output_audio_transcript.delta", "item_id": "a1", "delta": "Gladly. On Friday "},
    {"type": "response.output_audio_transcript.delta", "item_id": "a1", "delta": "there is room at seven"},
]
"""What the agent's side of the data channel says while it answers the first question."""


def holds(page: Page, condition: str) -> None:
    """Wait for a JavaScript expression to be true (the page's policy forbids Playwright's own way, eval)."""
    until(lambda: page.evaluate(f"Boolean({condition})"), condition)


def connect(page: Page) -> None:
    """From the press of the button to a connected call."""
    page.get_by_role("button", name="Start call").click()
    holds(page, "window.fakePeer?.answer")
    page.evaluate("fakePeer.sound(); fakePeer.become('connected'); fakePeer.open()")
    expect(page.get_by_role("status")).to_have_text("Listening. Go ahead.")


def state(page: Page) -> str:
    return str(page.evaluate("antiphon.state"))


def alert(page: Page) -> Any:
    return expect(page.get_by_role("alert"))
