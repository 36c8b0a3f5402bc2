"""Chat and speech services by URL get `traceparent` of the turn, where traces are on, and nothing else of ours."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import numpy as np
import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach
from support.models.plain_chat_server import chat_server
from support.models.speech_server import speech_server
from support.models.transcription_server import transcription_server
from support.spans import recorded_spans

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.conversation.turn_spans import TurnSpans
from antiphon.inference_bridge.models.remote.http_stt import HttpStt
from antiphon.inference_bridge.models.remote.http_tts import HttpTts
from antiphon.inference_bridge.models.threads import Urgency
from antiphon.inference_bridge.tts.normalization import for_remote_voice
from antiphon.runtime.telemetry import spans

pytestmark = pytest.mark.process

_NOW: Final = datetime(2026, 11, 22, 10, 30)
_LOUDNESS: Final = 100 + 6000 * np.abs(np.sin(np.arange(16000) * 12 / 16000))
_SOUND: Final = np.asarray(np.random.default_rng(1).normal(0, _LOUDNESS), dtype="<i2").tobytes()
OURS: Final = re.compile(r"(?mi)^(tracestate|baggage|antiphon\S*|x-antiphon\S*|session\S*):")


async def _asked() -> dict[str, str]:
    """The heads of one request to each of the three services, made inside a turn."""
    turns = TurnSpans(spans.of_call("rtc_1"), "rtc_1", "concierge")
    turn = turns.turn(None)
    token = attach(baggage.set_baggage("secret", "marmalade"))
    try:
        async with chat_server() as chat, speech_server() as speech, transcription_server() as transcription:
            stt = HttpStt(transcription.url, "whisper-1", "", "", 5.0, lambda _: None)
            tts = HttpTts(speech.url, "tts-1", "", "alloy", for_remote_voice)
            with turns.within(turn):
                async with client_for(chat.url, "secret") as client:
                    model = LanguageModel(client, "tiny", 5.0)
                    request = Request("Hello", _NOW, [], "Be brief.")
                    assert [part async for part in model.reply(request)]
                await stt.transcribe(_SOUND, "", Urgency.NOW, "call", "")
                await tts.synthesize("Hello.", 1.0, Urgency.NOW, "call", "", "")
            await stt.close()
            await tts.close()
            heads = {name: f"{name}: {value}" for name, value in transcription.asked[0].headers.items()}
            return {"chat": chat.headers[0], "tts": speech.heads[0], "stt": "\n".join(heads.values())}
    finally:
        detach(token)
        turn.end()


async def test_each_service_gets_the_traceparent_of_the_turn_and_nothing_else_of_ours() -> None:
    with recorded_spans() as recorded:
        heads = await _asked()
        turn = recorded.one("invoke_agent concierge").context
    assert turn is not None
    for name, head in heads.items():
        (found,) = re.findall(r"(?mi)^traceparent: (\S+)", head)
        assert found[:-2] == f"00-{turn.trace_id:032x}-{turn.span_id:016x}-", name
        assert int(found[-2:]) & 1, "it is sampled"
        assert not OURS.search(head), name
        assert "rtc_1" not in head


async def test_while_traces_are_off_they_get_none() -> None:
    assert not any("traceparent" in head.lower() for head in (await _asked()).values())
