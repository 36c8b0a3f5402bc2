"""Requests that a `ControlReply` answers: carried out, or not, and then why not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import MalformedError, messages

log = logging.getLogger(__name__)


class Refusal(Exception):
    """The request was understood and is not carried out. The text is for the component that asked."""


class Request(Protocol):
    """A message of nats-py, or a request to one of its services."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    async def respond(self, data: bytes) -> None: ...


class TracedRequest(Request, Protocol):
    """A request that may belong to a trace."""

    @property
    def headers(self) -> dict[str, str] | None: ...


async def answer(request: Request, carry_out: Callable[[bytes], Awaitable[str]]) -> None:
    """Answer with the text that `carry_out` returns for the request's data, or with the text of what it raised.

    `MalformedError` and `Refusal` are for the asker to deal with; anything else is our mistake and is logged.
    """
    try:
        reply = messages.ControlReply(ok=True, message=await carry_out(request.data))
    except (MalformedError, Refusal) as error:
        reply = messages.ControlReply(ok=False, message=str(error))
    except Exception as error:
        log.exception("a request on %s could not be carried out", request.subject)
        reply = messages.ControlReply(ok=False, message=repr(error))
    # nats-py raises a ValueError of a service's request, and an error of its own otherwise, where no answer is wanted
    with contextlib.suppress(ValueError, *BUS_ERRORS):
        await request.respond(messages.encode(reply))
