"""Requests that a `ControlReply` answers: carried out, or not, and then why not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import nats.errors

from antiphon.schemas import MalformedError, messages

log = logging.getLogger(__name__)


class Refusal(Exception):
    """It was understood and is not done. The text is for whoever asked."""


class Request(Protocol):
    """A message of nats-py, or a request to a service of it."""

    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    async def respond(self, data: bytes) -> None: ...


async def answer(request: Request, carry_out: Callable[[bytes], Awaitable[str]]) -> None:
    """Answer with what `carry_out` says that it did with the request's data, or with what it raised.

    `MalformedError` and `Refusal` are the asker's to deal with; anything else is our mistake and is logged.
    """
    try:
        reply = messages.ControlReply(ok=True, message=await carry_out(request.data))
    except (MalformedError, Refusal) as error:
        reply = messages.ControlReply(ok=False, message=str(error))
    except Exception as error:
        log.exception("a request on %s could not be carried out", request.subject)
        reply = messages.ControlReply(ok=False, message=repr(error))
    # nats-py raises a ValueError of a service's request, and an error of its own otherwise, where no answer is wanted
    with contextlib.suppress(nats.errors.Error, OSError, ValueError):
        await request.respond(messages.encode(reply))
