"""Answers operators who ask for the calls that run: the same for a transceiver and for calls over WebSocket.

`select` decides which calls a page has. `CallListing` fills the page and answers. A page is filled in small steps: the
loop that does it also sends audio.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Generic

from nats.aio.msg import Msg

from antiphon.runtime import tasks
from antiphon.runtime.nats.publisher import Publisher
from antiphon.runtime.owned_calls.owned_call import CallT, CallTable
from antiphon.schemas import MalformedError, messages

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Listings that are being answered. A further request gets no answer: the asker names this owner as missing."""
STEP: Final = 8
"""Calls between two returns to the loop: about 0.4 ms."""
MAX_BYTES: Final = 480_000
"""Of an answer: readers refuse messages above 512 KiB. A page that is longer is cut in half until it fits."""


def select(calls: Iterable[CallT], asked: messages.ListCalls) -> tuple[list[CallT], int]:
    """The calls of the page that is asked for, in the order of their ids, and how many there are from there on.

    Sessions that listen to a call are no calls.
    """
    wanted = frozenset(asked.session_ids)
    found = [
        call
        for call in calls
        if call.ended is None
        and not call.state.listens_to
        and call.state.session_id > asked.after
        and (not wanted or call.state.session_id in wanted)
        and (not asked.agent or call.state.agent == asked.agent)
    ]
    found.sort(key=lambda call: call.state.session_id)
    return found[: asked.limit], len(found)


class CallListing(Generic[CallT]):
    """Handler of `calls_list`.

    Owner: the process, for its whole life. Event loop only.
    """

    def __init__(
        self,
        calls: CallTable[CallT],
        publisher: Publisher,
        owner: Callable[[], messages.CallList],
        summary: Callable[[CallT, messages.CallList], messages.CallSummary],
    ) -> None:
        """`owner()`: the answer without calls, which says whose it is. `summary(call, owner)` describes one call."""
        self._calls = calls
        self._publisher = publisher
        self._owner = owner
        self._summary = summary
        self._answering: set[asyncio.Task[None]] = set()

    async def requested(self, message: Msg) -> None:
        """Answer with our calls, also when there are none: the asker waits for every owner."""
        if not message.reply or len(self._answering) >= AT_ONCE:
            return
        try:
            asked = messages.decode(message.data, messages.ListCalls)
        except MalformedError as error:
            log.warning("a listing of calls was asked for and can't be read: %s", error)
            return
        task = asyncio.create_task(self._answer(asked, message.reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """Answer no more."""
        await tasks.end(*self._answering)

    async def _answer(self, asked: messages.ListCalls, reply: str) -> None:
        try:
            owner = self._owner()
            calls, total = select(self._calls, asked)
            page: list[messages.CallSummary] = []
            for number, call in enumerate(calls, 1):
                if call.ended is None:
                    page.append(self._summary(call, owner))
                if number % STEP == 0:
                    await asyncio.sleep(0)
            answer = packed(owner, page, total)
        except Exception:
            log.exception("the calls of this process could not be listed")
            return
        self._publisher.publish(reply, answer)


def packed(owner: messages.CallList, page: list[messages.CallSummary], total: int) -> bytes:
    """The answer as it is sent, with as much of the page as one message may hold."""
    while True:
        answer = messages.encode(owner.model_copy(update={"calls": page, "total": max(total, len(page))}))
        if len(answer) <= MAX_BYTES or len(page) <= 1:
            return answer
        page = page[: len(page) // 2]
