"""Asks for calls and processes in the name of an HTTP request: what of NATS fails becomes an error of the API."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors

from antiphon.runtime.operators.call_gathering import CallPage, ExpectedOwner, owners_of
from antiphon.runtime.operators.gather import gather_calls
from antiphon.runtime.operators.processes import Process, drain, processes_of, register_entries
from antiphon.schemas import MalformedError
from antiphon.schemas.messages import CallSummary, ListCalls
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import no_call

log = logging.getLogger(__name__)


async def list_calls(backend: Backend, asked: ListCalls) -> CallPage:
    """One page of the calls of this region; `ApiError` 503 while NATS is away."""
    client = backend.connection("calls can't be listed")
    signalings = (await backend.services()).websocket_owners
    expected = [
        *owners_of(backend.directory.owners_here(time.monotonic())),
        *(ExpectedOwner(f"signaling {each}", ids=frozenset((each,))) for each in sorted(signalings)),
    ]
    with _api_errors():
        return await gather_calls(client, asked, expected)


async def one_call(backend: Backend, session_id: str) -> CallSummary:
    """The call; `ApiError` 404 when no owner has it, 504 when one that may have it does not answer."""
    page = await list_calls(backend, ListCalls(session_ids=[session_id]))
    if page.calls:
        return page.calls[0]
    if page.incomplete:
        text = f"no owner that answers has call {session_id}; silent: {', '.join(page.incomplete)[:500]}"
        raise ApiError(504, "owner_silent", text, param="call_id")
    raise no_call(session_id)


async def list_processes(backend: Backend) -> list[Process]:
    """All processes that answer in the register of this region; `ApiError` 503 while NATS is away."""
    client, now = backend.connection("processes can't be listed"), time.monotonic()
    with _api_errors():
        entries = await register_entries(client)
    return processes_of(entries, backend.directory.owners_here(now), backend.directory.announced_relays(now))


async def drain_process(backend: Backend, service: str, instance: str) -> str:
    """Have the process stop as on SIGTERM; its word. `ApiError` 404, 409, 503 or 504."""
    client = backend.connection("no process can be reached")
    try:
        with _api_errors():
            reply = await drain(client, service, instance)
    except nats.errors.NoRespondersError:
        text = f"no process {service} {instance!r:.80} is in the register: it has ended, or never was"
        raise ApiError(404, "no_process", text, param="instance") from None
    except TimeoutError:  # that of nats-py is one
        raise ApiError(504, "process_silent", f"process {service} {instance} does not answer") from None
    if not reply.ok:
        raise ApiError(409, "not_drained", f"process {service} {instance} does not drain: {reply.message[:200]}")
    return reply.message


@contextmanager
def _api_errors() -> Iterator[None]:
    try:
        yield
    except (nats.errors.NoRespondersError, TimeoutError):
        raise
    except (nats.errors.Error, OSError, MalformedError) as error:
        log.warning("an operator's request: %s", error or type(error).__name__)
        raise unavailable("nats_down", "signaling could not reach the other processes over NATS") from None
