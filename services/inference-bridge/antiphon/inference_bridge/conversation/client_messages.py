"""What comes on a call's data channel: read, kept within the budget, carried out. Above the budget it is dropped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from antiphon.inference_bridge.conversation.client_commands import ClientCommands
from antiphon.inference_bridge.conversation.event_budget import (
    BURST,
    BYTE_BURST,
    BYTE_RATE,
    PATIENCE_SECONDS,
    EventBudget,
    Verdict,
)
from antiphon.inference_bridge.conversation.event_budget import (
    RATE as EVENT_RATE,
)
from antiphon.inference_bridge.input.vad_pipeline import VadPipeline
from antiphon.inference_bridge.realtime_protocol.client_events import BufferClear, BufferCommit, read_client_event
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError

log = logging.getLogger(__name__)

CAUGHT_UP_SECONDS: Final = 2.0
"""For the audio before a commit to be judged."""
_DROPPED_AT_ONCE: Final = 50
"""Events that are dropped before other calls get the event loop; one that is carried out lets them have it at once."""
TOO_MANY_EVENTS: Final = "too_many_events"
"""Why a call ended whose client sent events without end: `cause` of its `Ended`."""


class ClientMessages:
    """Takes the messages of one client.

    Owner: the call's session, for as long as the call; called on the event loop, one message after the other.
    """

    def __init__(
        self,
        session_id: str,
        commands: ClientCommands,
        realtime: Realtime,
        pipeline: VadPipeline,
        is_full: Callable[[], bool],
        changed: Callable[[], None],
        hang_up: Callable[[str], object],
    ) -> None:
        """`is_full`: too many answers wait to be sent. `changed`: another process would need to know.

        `hang_up(why)`: end the call.
        """
        self._id, self._commands, self._realtime, self._pipeline = session_id, commands, realtime, pipeline
        self._is_full, self._changed, self._hang_up = is_full, changed, hang_up
        self._budget = EventBudget(time.monotonic())

    async def received(self, data: bytes) -> None:
        """One message, as it came."""
        size = len(data)
        verdict = self._budget.spend(size, time.monotonic(), self._is_full())
        if verdict is not Verdict.TAKE:
            self._refuse(verdict)
            if self._budget.dropped % _DROPPED_AT_ONCE == 0:
                await asyncio.sleep(0)
            return
        try:
            message = messages.decode(data, messages.DataMessage)
            if message.channel != messages.EVENTS_CHANNEL:
                self._budget.give_back(size)
                return
            event = read_client_event(message.payload())
            if isinstance(event, BufferCommit | BufferClear):
                await self._pipeline.caught_up(CAUGHT_UP_SECONDS)
            self._commands.apply(event)
            self._changed()
        except MalformedError as error:
            log.warning("%s: %s", self._id, error)
        except ClientError as error:
            self._realtime.error(error)
        await asyncio.sleep(0)  # the client of NATS gives us all that waits without a pause

    def _refuse(self, verdict: Verdict) -> None:
        """An event above the budget: it is dropped."""
        dropped = self._budget.dropped
        if verdict is Verdict.REPORT:
            log.warning("%s: its client sends too many events, %d are dropped so far", self._id, dropped)
            text = (
                f"too many events, {dropped} of this call are dropped so far: at most {EVENT_RATE:.0f} events and"
                f" {BYTE_RATE / 1024:.0f} KiB a second are taken after a burst of {BURST} events or"
                f" {BYTE_BURST / 1024**2:.0f} MiB, and none while too many answers wait to be sent. Send fewer, or the"
                f" call is ended after {PATIENCE_SECONDS:.0f} s"
            )
            self._realtime.error(ClientError(text, "rate_limit_exceeded"))
        elif verdict is Verdict.END:
            log.warning("%s: its client does not stop sending events, %d were dropped: ended", self._id, dropped)
            text = f"too many events: {dropped} were dropped, and the call ends"
            self._realtime.error(ClientError(text, "rate_limit_exceeded"))
            self._hang_up(TOO_MANY_EVENTS)
