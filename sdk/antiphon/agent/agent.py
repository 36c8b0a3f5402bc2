"""An agent on the bus: registers, accepts claims while it is fit for them, takes sessions over, runs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast, overload

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request

from antiphon.agent import process_life, registration
from antiphon.agent.server_tools import AllTools
from antiphon.agent.session import AgentServices, Session
from antiphon.agent.session_runner import Function, run_session
from antiphon.agent.shadow import Shadow
from antiphon.agent.shadow_session import FLUSH_SECONDS, ShadowSession
from antiphon.agent.tools import Tool
from antiphon.agent.watchdog import Watchdog
from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import lease_crypto, recent_audio, takeover
from antiphon.runtime.agent_sessions.admission import Admission, read_claim
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper, new_instance
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.health import serving
from antiphon.runtime.metrics.settings import NOWHERE, MetricsSettings
from antiphon.runtime.nats import connection, process_drain, service_discovery
from antiphon.runtime.nats.access import Access
from antiphon.runtime.tools.definitions import HttpTool, McpServer
from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.audio import RATES
from antiphon.schemas.messages import AudioRate, Lease

log = logging.getLogger("antiphon.agent")

F = TypeVar("F", bound=Callable[..., Any])

MAX_LATENESS_MS: Final = 500.0
"""A loop that was blocked for longer in the last five seconds accepts no new sessions; one hiccup is no reason."""
_LOAD_CHECK_SECONDS: Final = 0.25
_STOP_SECONDS: Final = 1.5


class Agent:
    """`agent = Agent("name")`, a function under `@agent.session`, `agent.run()`.

    It lasts as long as your program. All sessions share the event loop of `run` or `serving`, and everything here is
    called from that loop; only plain functions under `@agent.tool` run on threads.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int = 100,
        input_rate: int = 24000,
        detect_speech: bool = True,
        captions: bool = True,
        hang_up_on_error: bool = True,
        keep_audio: bool = False,
        blocked_ms: float = 200.0,
        shadow_of: str = "",
    ) -> None:
        """`capacity`: sessions at once; above it other instances of the name are asked.

        `input_rate`: Hz of the caller's audio: 8000, 16000, 24000 or 48000.
        `captions`: words that are written with speech, and what the client types, appear in the client's transcript.
        `detect_speech`: `SpeechStarted` and `SpeechStopped` by loudness.
        `hang_up_on_error`: a function that raises ends the call; else the call stays open, in silence.
        `keep_audio`: after a takeover `session.recent_audio` holds the caller's last seconds (NATS keeps them).
        `blocked_ms`: a function that keeps the event loop longer is named in the log.
        `shadow_of`: listen to the sessions of that agent instead of taking calls; the function gets a `ShadowSession`.
        """
        subjects.agent_claim(name)  # raises for a name that no subject can hold
        self.name = name
        """As callers choose it."""
        self.capacity = capacity
        """Sessions at once."""
        self.tools: dict[str, Tool] = {}
        """By name: what `tool` has registered."""
        self._all_tools = AllTools(self.tools)
        if input_rate not in RATES:
            raise ValueError(f"input_rate {input_rate}: expected one of {', '.join(map(str, RATES))}")
        self._input_rate = cast(AudioRate, input_rate)
        self._detect_speech, self._hang_up_on_error = detect_speech, hang_up_on_error
        self._captions = captions
        self._keep_audio, self._blocked_ms, self._shadow_of = keep_audio, blocked_ms, shadow_of
        self._function: Function | None = None
        self._sessions: dict[str, ShadowSession] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._client: Client
        self._leaving = False
        self._keeper: LeaseKeeper
        self._services: AgentServices
        self._watchdog: Watchdog
        self._shadow: Shadow | None = None
        self._claims: Subscription | None = None
        self._admission = self._new_admission(new_instance())

    # ---- for the author

    @overload
    def session(self, function: F) -> F: ...
    @overload
    def session(self) -> Callable[[F], F]: ...

    def session(self, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """The function that is called with each session; the session lasts as long as it runs, at most.

        `@agent.session` and `@agent.session()` are the same. TypeError, which names the line, for a function that
        can't be called with a session or is no `async def`, and for a second one.
        """

        def register(each: F) -> F:
            if self._function is not None:
                raise TypeError(f"agent {self.name}: it has a function already, {self._function.__qualname__}")
            self._function = registration.checked(self.name, each)
            return each

        return register if function is None else register(function)

    @overload
    def tool(self, function: F) -> F: ...
    @overload
    def tool(self, *, name: str = "", timeout: float = 30.0) -> Callable[[F], F]: ...

    def tool(
        self, function: Callable[..., Any] | None = None, *, name: str = "", timeout: float = 30.0
    ) -> Callable[..., Any]:
        """A function for `session.call_tool`; `tool_schemas` describes it. `timeout` in seconds."""

        def register(each: F) -> F:
            tool = Tool(each, name, timeout)
            self.tools[tool.name] = tool
            return each

        return register if function is None else register(function)

    def tool_schemas(self) -> list[dict[str, Any]]:
        """All tools, as the OpenAI realtime protocol has them in `session.tools`."""
        return self._all_tools.schemas()

    def use(self, definition: HttpTool | McpServer) -> None:
        """An HTTP request, or the tools of an MCP server, for `session.call_tool`, beside the functions.

        Call it before the agent serves. An MCP server's tools are in `tool_schemas` when it is connected. Needs the
        extra `tools`. ValueError for a name twice, a secret that is not there, or a package that is not installed.
        """
        self._all_tools.use(definition)

    @property
    def sessions(self) -> dict[str, ShadowSession]:
        """Those that run now, by id."""
        return dict(self._sessions)

    def figures(self) -> dict[str, Any]:
        """Sessions, capacity and claims of this instance, as `nats micro stats antiphon-agent` shows them."""
        return self._admission.figures()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. `ANTIPHON_NATS_URL` says where (default nats://127.0.0.1:4222).

        `ANTIPHON_NATS_CREDENTIALS` names the file with the agent's credential. Exit status 2 if it can't be used, or
        is not allowed to take calls under this name.
        `ANTIPHON_METRICS_BIND` says where `/metrics` is served (default: 127.0.0.1, port 9510 or one behind it); `off`:
        nowhere.
        `ANTIPHON_LEASE_KEY_FILE` names the file with the keys that seal leases, where NATS keeps them on disk.
        """
        if self._function is None:
            raise SystemExit(f"agent {self.name} has no function: put @agent.session above one")
        process_life.run(
            self.name,
            self._check,
            lambda metrics, stop: self._serving("", "", metrics, stop),
            f"agent {self.name}, up to {self.capacity} sessions",
            lambda: f"{len(self._sessions)} sessions are handed over",
            _STOP_SECONDS,
        )

    @asynccontextmanager
    async def serving(
        self,
        url: str = "",
        credentials: str | os.PathLike[str] = "",
        on_drain: Callable[[], None] | None = None,
    ) -> AsyncIterator[None]:
        """Serve inside a program of your own, for as long as the block lasts. It shows no metrics: `figures` has some.

        `url`, `credentials`: in place of `ANTIPHON_NATS_URL` and `ANTIPHON_NATS_CREDENTIALS`.
        `on_drain`: called when an operator asks this process to end; leave the block then. `run` does. None: no
        operator can ask.
        `AccessError`, a `ValueError`, for a credential that can't be used; an error of nats-py for one that may not
        take calls under this name.
        """
        async with self._serving(url, credentials, NOWHERE, on_drain):
            yield

    @asynccontextmanager
    async def _serving(
        self,
        url: str,
        credentials: str | os.PathLike[str],
        shown: MetricsSettings,
        on_drain: Callable[[], None] | None,
    ) -> AsyncIterator[None]:
        if self._function is None:
            raise RuntimeError(f"agent {self.name} has no function: put @agent.session above one")
        self._client = await process_life.connect(self.name, url, self._access(credentials))
        self._watchdog = Watchdog(self._blocked_ms / 1000)
        instance, crypto = new_instance(), lease_crypto.from_environment()
        admission = self._admission = self._new_admission(instance)
        self._metrics = MetricsService("agent", shown, name=self.name)
        admission.register_metrics(self._metrics.metrics)
        self._keeper = LeaseKeeper(
            self._client, self.name, self._take_over, self._lost, lambda: admission.room, instance, crypto
        )
        self._services = AgentServices(self._all_tools, self._keeper.save, self._keeper.verify, instance)
        self._shadow = Shadow(self._client, self.name, self._shadow_of, crypto) if self._shadow_of else None
        try:
            await self._all_tools.start()
            await self._start(on_drain)
            yield
        finally:
            await self._stop()
            await self._all_tools.close()

    # ---- life

    def _access(self, credentials: str | os.PathLike[str] = "") -> Access:
        """Who we are for NATS."""
        return process_life.access("shadow" if self._shadow_of else "agent", self.name, credentials)

    def _check(self) -> None:
        self._access()
        lease_crypto.from_environment()

    async def _start(self, on_drain: Callable[[], None] | None) -> None:
        self._watchdog.start()
        await self._keeper.start()
        await self._metrics.start(lambda: self._client)
        metadata = {"agent": self.name, "instance": self._keeper.instance, **self._metrics.metadata()}
        service = await service_discovery.register(
            self._client, service_discovery.AGENT_SERVICE, metadata, self.figures
        )
        if self._shadow is None:
            own = subjects.agent_claim_of(self.name, self._keeper.instance)
            await service.add_endpoint(
                name="claim", subject=own, handler=self._claimed_by_name, queue_group=connection.NO_GROUP
            )
            await self._join_group()
            await connection.require_allowed(self._client)
            self._spawn(self._watch_load())
        else:
            self._spawn(self._shadow.watch(self._begin_shadow))
        if on_drain is not None:  # after `require_allowed`: a server with users of before may refuse it
            await process_drain.listen(self._client, service_discovery.AGENT_SERVICE, service.id, on_drain)
        self._metrics.started(lambda: serving(self._leaving, self._client.is_connected))

    async def _stop(self) -> None:
        self._leaving = True
        self._admission.stop()
        await self._leave_group()
        for session in self._sessions.values():
            session.finish("stopped")
        if self._tasks:
            await tasks.end(*self._tasks)
        await self._keeper.close()
        self._watchdog.stop()
        await self._metrics.close()
        await self._client.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_done)

    def _spawned_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("agent %s: %r", self.name, error, exc_info=error)

    # ---- claims

    def _new_admission(self, instance: str) -> Admission:
        return Admission(self._sessions, self.capacity, instance, self._input_rate)

    def _late(self) -> str:
        """Why another instance would be better; empty: none would."""
        late_ms = self._watchdog.late_ms()
        return f"this instance is late by {late_ms:.0f} ms" if late_ms > MAX_LATENESS_MS else ""

    async def _join_group(self) -> None:
        """Into the queue group. While we are out, NATS gives claims to other instances, or says that there is none."""
        if self._claims is None:
            self._claims = await self._client.subscribe(
                subjects.agent_claim(self.name), queue=self.name, cb=self._claimed
            )
            async with asyncio.timeout(FLUSH_SECONDS):
                await connection.flush(self._client)

    async def _leave_group(self) -> None:
        claims, self._claims = self._claims, None
        if claims is not None:
            await connection.stop_answering(self._client, claims)

    async def _watch_load(self) -> None:
        """Out of the group when full or late, in again when not."""
        while True:
            reason = self._late() or self._admission.full
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                if reason and self._claims is not None:
                    log.warning("agent %s: accepts no sessions for now: %s", self.name, reason)
                    await self._leave_group()
                elif not reason and self._claims is None:
                    log.info("agent %s: accepts sessions again", self.name)
                    await self._join_group()
            await asyncio.sleep(_LOAD_CHECK_SECONDS)

    async def _claimed(self, request: Msg | Request) -> None:
        await self._claim(request, self._late())

    async def _claimed_by_name(self, request: Request) -> None:
        """The transceiver has asked the others before, or there are none: accept although late."""
        await self._claim(request, "")

    async def _claim(self, request: Msg | Request, unfit: str) -> None:
        try:
            claim = read_claim(request.data, self.name)
        except MalformedError as error:
            await request.respond(self._admission.reply(str(error)))
            return
        if refusal := self._admission.refusal(claim, time.time(), unfit):
            self._metrics.metrics.add("antiphon_call_claims_total", result="refused")
            await request.respond(self._admission.reply(refusal, self._admission.retry_after))
            return
        session = self._speaking(self._admission.lease(claim, request.headers or {}, time.time()))
        self._sessions[session.id] = session  # before the first await: the capacity is exact
        self._spawn(self._accept(request, session))

    async def _accept(self, request: Msg | Request, session: Session) -> None:
        began = time.monotonic()

        async def hold() -> bool:
            await self._keeper.hold(session.lease)
            held = self._keeper.holds(session.id)
            await request.respond(self._admission.reply("" if held else self._admission.lost(session.id)))
            return held

        accepted = False
        try:
            accepted = await self._open(session, hold)
        except (nats.errors.Error, TimeoutError) as error:
            log.warning("%s: not taken: %s", session.id, error or type(error).__name__)
        finally:
            if not accepted:
                await self._keeper.release(session.id)
        if accepted:
            seconds = time.monotonic() - began
            self._admission.accepted(session.id, seconds * 1000)
            self._metrics.metrics.add("antiphon_call_claims_total", result="accepted")
            self._metrics.metrics.observe("antiphon_call_claim_seconds", seconds)
            await self._work(session)

    # ---- sessions

    def _speaking(self, lease: Lease) -> Session:
        return Session(self._client, lease, self._services, self._detect_speech, self._captions)

    def _listening(self, lease: Lease) -> ShadowSession:
        return ShadowSession(self._client, lease, self._detect_speech)

    async def _open(self, session: ShadowSession, confirm: Callable[[], Awaitable[bool]]) -> bool:
        """Subscribe, then `confirm` that the session is ours and exists; else nothing is left of it here."""
        self._sessions[session.id] = session
        opened = False
        try:
            await session.open()
            opened = await confirm()
        finally:
            if not opened:
                del self._sessions[session.id]
                await session.close()
        return opened

    async def _take_over(self, lease: Lease) -> bool:
        """The session of an instance that is gone; its lease is ours already."""
        if (shadow := self._shadow) is None:
            session: ShadowSession = (speaking := self._speaking(lease))
            opened = await self._open(speaking, lambda: self._fence(speaking))
            if opened:
                self._metrics.metrics.add("antiphon_call_takeovers_total", how="killed")
        else:
            session = listening = self._listening(lease)
            opened = await self._open(listening, lambda: self._is_shadowed(shadow, listening))
        if opened:
            self._spawn(self._work(session))
        return opened

    async def _fence(self, session: Session) -> bool:
        if not self._keep_audio:
            return await takeover.fence(session.bus, session.lease)
        recent = await takeover.fence_and_recall(self._client, session.bus, session.lease)
        session.recall(recent or [])
        return recent is not None

    async def _is_shadowed(self, shadow: Shadow, session: ShadowSession) -> bool:
        if not await shadow.runs(session.id):
            return False
        if self._keep_audio:
            session.recall(await recent_audio.read(self._client, session.serving_agent, session.id))
        return True

    async def _begin_shadow(self, source: Lease) -> None:
        """A session of the agent that we shadow; one of our instances gets it."""
        if source.session_id in self._sessions or self._admission.room <= 0:
            return
        ours = {"agent": self.name, "instance": self._keeper.instance, "shadow_of": source.agent}
        lease = source.model_copy(update={**ours, "state": {}, "takeovers": 0, "started_at": time.time()})
        session = self._listening(lease)

        async def hold() -> bool:
            await self._keeper.hold(lease)
            return self._keeper.holds(session.id)  # else another instance of ours has it

        if await self._open(session, hold):
            self._spawn(self._work(session))

    async def _work(self, session: ShadowSession) -> None:
        assert self._function is not None
        try:
            await run_session(session, self._function, self._hang_up_on_error)
        finally:
            self._sessions.pop(session.id, None)
        log.info("%s: ended (%s)", session.id, session.end.reason if session.end else session.why)
        if session.why != "stopped":  # then its lease is for another instance
            await self._keeper.release(session.id)

    def _lost(self, session_id: str) -> None:
        """Another instance holds it: our function is cancelled, the call continues there."""
        if session := self._sessions.get(session_id):
            session.finish("lost")
