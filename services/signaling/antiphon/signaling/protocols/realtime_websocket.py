"""The WebSocket at `/v1/realtime`: a call with its audio in the events, or with `call_id` the side channel of a call.

A server-side application calls with `?model=` or `?agent=`, as OpenAI's clients do. A refusal is an HTTP answer, not a
close.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fastapi import APIRouter, WebSocket
from opentelemetry import trace

from antiphon.runtime.telemetry import names, spans
from antiphon.signaling.calls.admission import admitted, check_may_call
from antiphon.signaling.calls.configuration import configuration_of
from antiphon.signaling.calls.open_call import Offering, offer_span
from antiphon.signaling.http.api_description import answer, describe
from antiphon.signaling.http.dependencies import Services, ServicesDep
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.protocols.side_channel import ERRORS, authorization_of, side_channel, subprotocol_of
from antiphon.signaling.websocket_calls.connection import Connection
from antiphon.signaling.websocket_calls.service import OpenedCall, WantedCall

log = logging.getLogger(__name__)
_TEXTS: Final = {
    "model": "of the clients of OpenAI: an agent's name, or any other one",
    "agent": "the agent that takes the call",
    "events": "`antiphon`: our own events are sent as well",
    "call_id": "a running call: its side channel, and no call of its own",
}
_QUERY: Final = [
    {"name": name, "in": "query", "schema": {"type": "string"}, "description": text} for name, text in _TEXTS.items()
]
OPERATIONS: Final = {
    "/v1/realtime": describe(
        "A call with its audio in the events, or the side channel of a running one (WebSocket)",
        "Calls",
        answers={101: answer("The WebSocket is open: it carries the events of the realtime protocol.")},
        errors=(400, *ERRORS),
        parameters=_QUERY,
    ),
}
"""The WebSocket of this module, by path: what `http.openapi` says of it."""

router = APIRouter(prefix="/v1")


@router.websocket("/realtime")
async def realtime(socket: WebSocket, services: ServicesDep) -> None:
    """Until the call ends."""
    if "call_id" in socket.query_params:
        await side_channel(socket, services)
    else:
        await _call(socket, services)


async def _call(socket: WebSocket, services: Services) -> None:
    try:
        with offer_span(socket) as offering:
            opened = await _open(socket, services, offering)
            offering.took()
            state = opened.call.state
            span = trace.get_current_span()
            spans.name_call(span, state.session_id)
            span.set_attribute(names.AGENT_NAME, state.agent)
    except ApiError as error:
        await socket.send_denial_response(error.response())
        return
    loop = asyncio.get_running_loop()
    log.info("call %s over WebSocket for agent %s", state.session_id, state.agent, extra={"session": state.session_id})
    try:
        location = f"/v1/realtime/calls/{state.session_id}".encode()
        await socket.accept(subprotocol_of(socket), [(b"location", location)])
        opened.activate()
        await Connection(socket, opened.call, opened.output).run()
    finally:
        opened.call.end("client_closed", loop.time())  # unless it has ended: the client went away before `run`
    log.info("call %s ended: %s", state.session_id, opened.call.ended, extra={"session": state.session_id})


async def _open(socket: WebSocket, services: Services, offering: Offering) -> OpenedCall:
    calls = services.websocket_calls
    caller = services.authenticator.caller_of(socket, authorization_of(socket))
    check_may_call(caller)
    if calls is None:
        raise unavailable("websocket_not_served", "no calls over WebSocket are taken here", 60)
    calls.check_room()
    configuration = await configuration_of(socket, services, caller, {})
    query = socket.query_params
    wanted = WantedCall(
        configuration.agent,
        configuration.session,
        model=query.get("model", "")[:256],
        own_events="antiphon" in query.get("events", "").split(","),
    )
    async with admitted(services, caller):
        return await calls.open(services.backend, caller, wanted, offering.trace)
