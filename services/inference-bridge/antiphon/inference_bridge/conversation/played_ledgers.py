"""Which words of the last responses are in which part of their audio: a client may still truncate one by time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE
from antiphon.runtime.agent_sessions.played_text import PlayedText

MAX_LEDGERS: Final = 20
"""Responses that are remembered; the oldest go."""


class PlayedLedgers:
    """By the id of a response's item. Owned by the call's `ResponseTasks`; used on the event loop."""

    def __init__(self) -> None:
        self._ledgers: OrderedDict[str, PlayedText] = OrderedDict()

    def add(self, item_id: str, ledger: PlayedText) -> None:
        """Of a response that begins."""
        self._ledgers[item_id] = ledger
        if len(self._ledgers) > MAX_LEDGERS:
            self._ledgers.popitem(last=False)

    def words(self, item_id: str, audio_ms: int) -> str | None:
        """The words in the first `audio_ms` of a response; None if that is beyond its end, or it is too old."""
        ledger = self._ledgers.get(item_id)
        samples = audio_ms * SPEECH_RATE // 1000
        return None if ledger is None or samples > ledger.samples else ledger.up_to(samples)
