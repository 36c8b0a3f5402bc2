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


CONTRASTS = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length === 3 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour[3] === 1) return colour;
    }
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.checkVisibility() && !e.disabled)
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return [e.id || e.tagName + '.' + e.className, (a + 0.05) / (b + 0.05)];
    }).filter(([, ratio]) => ratio < 4.5);
}"""
"""Evaluates to the texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3)."""


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
