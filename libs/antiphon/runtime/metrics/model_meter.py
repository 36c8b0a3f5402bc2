"""Times, requests and failures of one model as metrics. A request that is cancelled is no failure."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Literal, TypeVar

from antiphon.runtime.metrics.metrics import OFF, Metrics

T = TypeVar("T")
_FIRST: Final = {
    "stt": "antiphon_model_stt_seconds",
    "llm": "antiphon_model_llm_first_token_seconds",
    "tts": "antiphon_model_tts_first_audio_seconds",
}


class ModelMeter:
    """Counts what is asked of one model. Owner: the client of the model; event loop only."""

    def __init__(self, metrics: Metrics, kind: Literal["stt", "llm", "tts"], model: str) -> None:
        self._metrics, self._kind, self._model = metrics, kind, model
        self._busy = 0
        """Requests under way."""

    @property
    def busy(self) -> int:
        """Requests under way."""
        return self._busy

    def begin(self) -> float:
        """A request begins; returns what the others take as `began`."""
        self._busy += 1
        self._metrics.add("antiphon_model_requests_total", kind=self._kind, model=self._model)
        return time.perf_counter()

    def answered(self, began: float) -> None:
        """Its first result is there."""
        self._metrics.observe(_FIRST[self._kind], time.perf_counter() - began, model=self._model)

    def end(self, failed: bool = False) -> None:
        """It is done, cancelled, or has `failed`."""
        self._busy -= 1
        if failed:
            self._metrics.add("antiphon_model_failures_total", kind=self._kind, model=self._model)

    async def measured(
        self, parts: AsyncGenerator[T, None], is_result: Callable[[T], bool] = lambda _: True
    ) -> AsyncGenerator[T, None]:
        """The parts of one answer as they come; the first for which `is_result` is the first result."""
        began, answered, failed = self.begin(), False, False
        try:
            async with aclosing(parts):
                async for part in parts:
                    if not answered and is_result(part):
                        answered = True
                        self.answered(began)
                    yield part
        except Exception:
            failed = True
            raise
        finally:
            self.end(failed)


NOT_MEASURED: Final = ModelMeter(OFF, "llm", "")
"""Counts nothing."""
