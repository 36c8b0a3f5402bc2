"""What was said stands on spans where `ANTIPHON_TRACE_CONTENT` allows it, and else nowhere in any span."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from support.spans import recorded_spans
from support.virtual_conversation import VirtualConversation

from antiphon.inference_bridge.agents import FunctionCall
from antiphon.inference_bridge.conversation.turn_spans import ModelNames, TurnSpans
from antiphon.runtime.telemetry import names

pytestmark = pytest.mark.virtual
WORDS = ("artichoke", "marmalade", "xylophone", "gooseberry", "periwinkle")


def _text(span: ReadableSpan) -> str:
    """All of a span that a store would keep."""
    return str(span.to_json())


async def _talks(monkeypatch: pytest.MonkeyPatch) -> list[ReadableSpan]:
    """An answer, a tool, an interruption, a failure of the agent: each with words of its own."""
    with recorded_spans() as recorded:
        own = TurnSpans(None, "rtc_1", "concierge", ModelNames("whisper", "llama", "joe"))
        answers = [
            ["Your marmalade is ready."],
            [FunctionCall("c1", "weather", '{"city": "xylophone"}')],
            ["We are open from Monday to Friday, and on Saturday until noon, with gooseberry and more of it."],
            [ValueError("can't read periwinkle")],
        ]
        call = VirtualConversation(monkeypatch, answers, turn_spans=own)  # type: ignore[arg-type]
        await call.says("I want an artichoke.")
        await asyncio.sleep(5)
        await call.says("How is the xylophone?")
        await asyncio.sleep(1)
        call.returns("c1", "gooseberry")
        await asyncio.sleep(2)
        await call.says("Stop the artichoke now please, I mean it?")
        await asyncio.sleep(6)
        await call.close()
        return recorded.all()


async def test_off_means_that_no_span_holds_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_TRACE_ATTRIBUTES", "openinference,langfuse")
    found = await _talks(monkeypatch)
    assert sum(span.name.startswith("invoke_agent") for span in found) >= 3
    assert any(span.name == "execute_tool weather" for span in found)
    assert [(span.name, word) for span in found for word in WORDS if word in _text(span)] == []


async def test_on_means_that_a_turn_and_what_the_agent_was_asked_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_TRACE_CONTENT", "on")
    found = await _talks(monkeypatch)
    turn = min((each for each in found if each.name == "invoke_agent concierge"), key=lambda span: span.start_time or 0)
    (asked,) = json.loads(str((turn.attributes or {})[names.INPUT_MESSAGES]))
    (answered,) = json.loads(str((turn.attributes or {})[names.OUTPUT_MESSAGES]))
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "I want an artichoke."}]}
    assert answered["parts"][0]["content"] == "Your marmalade is ready."
    chat = next(each for each in found if each.name == "chat llama" and each.parent == turn.context)
    assert (chat.attributes or {})[names.INPUT_MESSAGES] == (turn.attributes or {})[names.INPUT_MESSAGES]
    for name in ("receive", "end_of_turn"):
        assert not any(word in _text(each) for each in found if each.name == name for word in WORDS)
