"""The server-side side channel of a call: a WebSocket that sees and sends what the client's data channel does.

`/v1/realtime?call_id=rtc_...` speaks the realtime protocol with the call's agent over NATS: everything that the agent
sends to the channel `oai-events` arrives here as well, and what comes from here reaches the agent as if the client
had sent it. A transfer is followed: the WebSocket goes on with the next agent. Nothing of it passes the transceiver,
except the first question for the agent. `realtime_websocket` has the route, and calls over WebSocket.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Callable
from typing import Final, Self

from fastapi import APIRouter, WebSocket
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions.followed_agent import FollowedAgent
from antiphon.runtime.nats import connection
from antiphon.runtime.owned_calls.client_statistics import digest_in
from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.messages import (
    SESSION_EVENT,
    Attach,
    AttachReply,
    DataMessage,
    Ended,
    Transferred,
    decode,
    decode_any,
    encode,
)
from antiphon.signaling.auth.authentication import Authenticator, Caller
from antiphon.signaling.http.api_description import CALL_ERRORS, CALL_ID, answer, describe
from antiphon.signaling.http.dependencies import Services, ServicesDep
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import no_call
from antiphon.signaling.placement.region_urls import asked_path, wrong_region

log = logging.getLogger(__name__)

MAX_CHANNELS: Final = 256
"""Side channels of this process at once; further ones get 503."""
MAX_WAITING: Final = 512
"""Events that wait for a slow reader; above it the channel is closed, because a gap would go unnoticed."""
MAX_EVENT_BYTES: Final = 256 * 1024
CHANNEL: Final = "oai-events"
_KEY_PROTOCOL: Final = "openai-insecure-api-key."
_FIND_TIMEOUT: Final = 1.0
_SESSION_ID: Final = re.compile(r"rtc_[A-Za-z0-9]{1,60}")
KEY_SECONDS: Final = 0.25
"""Between two looks at whether the key still counts."""
_POLICY_VIOLATION: Final = 1008
_GOING_AWAY: Final = 1001
_TRY_AGAIN: Final = 1013

ERRORS: Final = (*CALL_ERRORS, 307, 421)
"""Of who may not attach, by status."""
_ATTACHED: Final = {101: answer("The WebSocket is open: it carries the events of the realtime protocol.")}
OPERATIONS: Final = {
    "/v1/live/sessions/{call_id}/attach": describe(
        "Attach to a running call (WebSocket)", "Live sessions", answers=_ATTACHED, errors=ERRORS, parameters=[CALL_ID]
    ),
}
"""The WebSockets of this module, by path: what `http.openapi` says of them."""

router = APIRouter(prefix="/v1")


async def side_channel(socket: WebSocket, services: Services) -> None:
    """The WebSocket below `/v1/realtime`, until it or its call ends. A refusal is an HTTP answer, not a close."""
    await _serve(socket, services, socket.query_params.get("call_id"))


@router.websocket("/live/sessions/{call_id}/attach")
async def attach(socket: WebSocket, services: ServicesDep, call_id: str) -> None:
    """The same channel, by the path of live sessions."""
    await _serve(socket, services, call_id)


async def _serve(socket: WebSocket, services: Services, call_id: str | None) -> None:
    try:
        caller = _admitted(socket, services.authenticator)
        client, call_id = _asked_for(call_id, services.backend)
        if services.side_channels.locked():
            raise unavailable("overloaded", f"{MAX_CHANNELS} side channels are open already")
        # The semaphore does not wait: nothing ran since `locked`. The channel subscribes before it looks for the call
        # and before the WebSocket is open: no event is missed from then on, the end of the call included.
        holds = functools.partial(_still_holds, services.authenticator, caller)
        async with services.side_channels, _Channel(socket, client, call_id, holds) as channel:
            reply = await _attach(services.backend, call_id, caller.manages)
            _check_region(services.backend, call_id, reply, asked_path(socket.scope))
            channel.attached(reply.agent)
            await socket.accept(subprotocol_of(socket))
            await channel.run()
    except ApiError as error:  # all of them are raised before `accept`
        await socket.send_denial_response(error.response())


def _admitted(socket: WebSocket, authenticator: Authenticator) -> Caller:
    """The caller, or `ApiError`: a secret opens no side channel, which could undo what its maker fixed."""
    caller = authenticator.caller_of(socket, authorization_of(socket))
    if not caller.server:
        text = "an ek_ secret opens no side channel: this takes a server's API key"
        raise ApiError(403, "server_key_needed", text)
    caller.need("calls", "calls.manage")
    return caller


def _asked_for(call_id: str | None, backend: Backend) -> tuple[Client, str]:
    """The NATS client and the call that the WebSocket asks for, or `ApiError`."""
    call_id = call_id or ""
    if not _SESSION_ID.fullmatch(call_id):
        raise no_call(call_id)
    return backend.connection("the call can't be reached"), call_id


def authorization_of(socket: WebSocket) -> str:
    """The header, or what browsers put in its place: a subprotocol that carries the key."""
    for protocol in socket.headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_KEY_PROTOCOL):
            return f"Bearer {protocol.strip().removeprefix(_KEY_PROTOCOL)}"
    return socket.headers.get("authorization", "")


def subprotocol_of(socket: WebSocket) -> str | None:
    """The one to answer with: that of the protocol, and never the one that carries a key."""
    offered = socket.headers.get("sec-websocket-protocol", "")
    return "realtime" if "realtime" in offered.replace(" ", "").split(",") else None


def _still_holds(authenticator: Authenticator, caller: Caller) -> bool:
    return caller.key is None or authenticator.ring.still_holds(caller.key)


def _check_region(backend: Backend, call_id: str, reply: AttachReply, path: str) -> None:
    """`ApiError` 307 or 421 for a call of another region: what its agent sends does not leave that region."""
    if region := backend.foreign_region(reply.cluster):
        what = f"call {call_id} runs in region {region}: open its side channel"
        raise wrong_region(region, backend.url_of_region(region), path, what, websocket=True)


async def _attach(backend: Backend, call_id: str, asker: str) -> AttachReply:
    """Which agent has the call, and where; `ApiError` 404 if no transceiver has it, 504 if its transceiver is silent.

    `asker`: as `messages.may_manage` takes it. The call's transceiver refuses another one as if there were no call.
    """
    try:
        message = await backend.ask_owner("attach", call_id, encode(Attach(creator=asker)), _FIND_TIMEOUT)
        reply = decode(message.data, AttachReply)
        if reply.ok:
            subjects.data_in(reply.agent, call_id)  # raises for a name that no subject can hold
    except NoRespondersError:
        raise no_call(call_id) from None
    except (NatsTimeoutError, MalformedError) as error:
        log.warning("asking for the agent of call %s: %s", call_id, error or type(error).__name__)
        text = f"the transceiver of call {call_id} does not answer: try again"
        raise ApiError(504, "transceiver_silent", text) from None
    except NatsError:
        raise unavailable("nats_down", "signaling could not reach the call over NATS") from None
    if not reply.ok:
        raise no_call(call_id)
    return reply


class _Channel:
    """One side channel: a context manager that is subscribed to the call, and `run` once the WebSocket is accepted.

    Made and run by `side_channel`, which ends with it; all on the event loop.
    """

    def __init__(self, socket: WebSocket, client: Client, call_id: str, holds: Callable[[], bool]) -> None:
        """`holds`: whether the key that opened it still counts."""
        self._socket, self._client, self._call_id = socket, client, call_id
        self._holds = holds
        self._events: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)
        self._followed: FollowedAgent[str | Ended | Transferred] = FollowedAgent()
        self._ended = asyncio.Event()
        self._code, self._reason = 1000, "the call has ended"
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        """Subscribe; when this returns, NATS delivers what is published from then on."""
        try:
            for subject, callback in (
                (subjects.data_out_of_any(self._call_id), self._on_data),
                (subjects.session_event_of_any(self._call_id), self._on_event),
            ):
                self._subscriptions.append(await self._client.subscribe(subject, cb=callback))
            async with asyncio.timeout(_FIND_TIMEOUT):
                await connection.flush(self._client)
        except (NatsError, TimeoutError):
            await self._unsubscribe()
            raise unavailable("nats_down", "signaling could not reach the call over NATS") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._unsubscribe()

    async def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            try:
                await subscription.unsubscribe()
            except NatsError as error:
                log.debug("side channel: %s", error)

    def attached(self, agent: str) -> None:
        """This agent has the call; a transfer may have been published since."""
        for held in self._followed.attached(agent):
            self._take(agent, held)

    async def run(self) -> None:
        """Pass events on in both directions until the call or the connection ends."""
        log.info("side channel of call %s opened", self._call_id)
        jobs = [
            asyncio.create_task(job) for job in (self._read(), self._write(), self._watch_key(), self._ended.wait())
        ]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._end(_GOING_AWAY, "this server is ending")
            raise
        finally:
            await tasks.end(*jobs)
            if self._socket.client_state is WebSocketState.CONNECTED and self._ended.is_set():
                await self._socket.close(self._code, self._reason)
            log.info("side channel of call %s closed", self._call_id)

    def _end(self, code: int, reason: str) -> None:
        if not self._ended.is_set():
            self._code, self._reason = code, reason
            self._ended.set()

    async def _on_data(self, message: Msg) -> None:
        try:
            data = decode(message.data, DataMessage)
        except MalformedError as error:
            log.debug("side channel: %s", error)
            return
        agent = subjects.parse_session_subject(message.subject).agent
        if data.channel == CHANNEL and data.text is not None and self._followed.is_of_session(agent, data.text):
            self._take(agent, data.text)

    async def _on_event(self, message: Msg) -> None:
        try:
            event = decode_any(message.data, SESSION_EVENT, "SessionEvent")
        except MalformedError:
            return
        agent = subjects.parse_session_subject(message.subject).agent
        # Events under other names are of claims that failed; before the agent is known they may be of the call.
        if isinstance(event, Ended | Transferred) and self._followed.is_of_session(
            agent, event, hold=not self._followed.agent
        ):
            self._take(agent, event)

    def _take(self, agent: str, message: str | Ended | Transferred) -> None:
        """A message of the call, under the name of the agent that has it."""
        if isinstance(message, Ended):
            self._end(1000, f"the call has ended: {message.reason}")
        elif isinstance(message, Transferred):
            for held in self._followed.transferred(agent, message.agent):
                self._take(message.agent, held)
        else:
            try:
                self._events.put_nowait(message)
            except asyncio.QueueFull:
                self._end(_TRY_AGAIN, f"{MAX_WAITING} events were not read")

    async def _watch_key(self) -> None:
        """Ends with the key: revoked, expired or without the scope."""
        while True:
            if not self._holds():
                self._end(_POLICY_VIOLATION, "the API key of this side channel does not count any more")
                return
            await asyncio.sleep(KEY_SECONDS)

    async def _read(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > MAX_EVENT_BYTES:
                    self._end(1009, f"an event holds at most {MAX_EVENT_BYTES} bytes")
                    return
                if digest_in(text) is not None:
                    continue  # of the client's own statistics, which only the client itself can send
                subject = subjects.data_in(self._followed.agent, self._call_id)
                try:
                    await self._client.publish(subject, encode(DataMessage.of(CHANNEL, text)))
                except NatsError as error:
                    log.warning("side channel of %s: an event is lost: %s", self._call_id, error)
        except (WebSocketDisconnect, KeyError):  # KeyError: a binary message, which the protocol does not have
            return

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send_text(await self._events.get())
        except (WebSocketDisconnect, RuntimeError):
            return
