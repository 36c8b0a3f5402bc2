"""Runs one session: its function and the tasks beside it, from the claim to the end of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from antiphon.agent.session import Session
from antiphon.agent.shadow_session import ShadowSession
from antiphon.runtime import tasks, telemetry
from antiphon.runtime.telemetry import names, spans

log = logging.getLogger("antiphon.agent")
END_GRACE: Final = 5.0
"""Seconds that a function may still take when its session is over."""

Function = Callable[[Any], Awaitable[None]]


async def run_session(session: ShadowSession, function: Function, hang_up_on_error: bool) -> None:
    """Return when the session and all its tasks have ended. When the function returns, the call is hung up."""
    context = spans.of_call(session.id, telemetry.trace_context(session.lease.trace))
    with spans.current(names.AGENT_SESSION, context, attributes={names.AGENT_NAME: session.agent}) as span:
        main = asyncio.create_task(_call(function, session), name=session.id)
        over = asyncio.create_task(session.over.wait())
        watch = asyncio.create_task(session.watch_transceiver())
        try:
            waited: set[asyncio.Future[Any]] = {main, session.failure, over}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if session.why in ("ended", "transferred", "silent"):
                await asyncio.wait(waited - {over}, timeout=END_GRACE, return_when=asyncio.FIRST_COMPLETED)
                if not main.done() and not session.failure.done():
                    log.error("%s: its function still runs %.0f s after the end, cancelled", session.id, END_GRACE)
            error = _error(main, session)
            if error is not None:
                spans.fail(span, error)
                log.error("%s: the function has failed: %r", session.id, error, exc_info=error)
            await _leave(session, main, error, hang_up_on_error)
        finally:
            await tasks.end(main, over, watch)
            await session.close()


async def _call(function: Function, session: ShadowSession) -> None:
    await function(session)


def _error(main: asyncio.Task[None], session: ShadowSession) -> BaseException | None:
    for work in (main, session.failure):
        if work.done() and not work.cancelled() and (error := work.exception()):
            return error
    return None


async def _leave(
    session: ShadowSession, main: asyncio.Task[None], error: BaseException | None, hang_up_on_error: bool
) -> None:
    if not isinstance(session, Session) or session.over.is_set():
        session.finish("failed" if error else "returned")
    elif error is not None:
        if hang_up_on_error:
            await session.hang_up("agent_error")
        session.finish("failed")
    elif main.done():
        await session.hang_up("agent_returned")
        session.finish("returned")
