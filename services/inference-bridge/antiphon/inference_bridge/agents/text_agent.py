"""A text agent on NATS as the `Agent` of one call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from nats.aio.client import Client

from antiphon.inference_bridge.agents import ReplyPart, Request
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.phrases import phrase
from antiphon.runtime.metrics.model_meter import ModelMeter
from antiphon.schemas.messages.replies import ReplyLimits


class RemoteTextAgent:
    """Apologises. The `Agent` of one call, which owns it; used on the event loop."""

    def __init__(
        self,
        client: Client,
        call_id: str,
        agent: str,
        limits: ReplyLimits,
        failures: FailureSentences,
        meter: ModelMeter,
    ) -> None:
        self._failures = failures

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """One sentence."""
        yield self._failures.apology or phrase("apology", request.language)

    def played(self, text: str) -> None:
        """Nothing to do."""

    def greeting_played(self, text: str) -> None:
        """Nothing to do."""

    def saved(self) -> Any:
        """None: there is nothing to keep."""
        return None

    def restore(self, saved: Any) -> None:
        """Nothing to do."""

    def ended(self) -> None:
        """Nothing to do."""
