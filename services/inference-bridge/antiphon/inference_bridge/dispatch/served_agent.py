"""One agent of a bridge on the bus: its register entry, its claims, its beats and its leases."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.micro.service import Service

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.dispatch.agent_wishes import wishes_of
from antiphon.inference_bridge.dispatch.call_sessions import CallSessions, CallTerms
from antiphon.inference_bridge.dispatch.claims import Claims
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntry
from antiphon.runtime import telemetry
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.agent_sessions.lease_crypto import LeaseCrypto
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats import process_drain, service_discovery
from antiphon.schemas import messages
from antiphon.schemas.messages import AgentBeat

log = logging.getLogger(__name__)

BUSY_RETRY: Final = 2
"""Seconds after which another try makes sense where the agent has too much to do."""
GONE_RETRY: Final = 3
"""Likewise, where no instance of it is there."""
_SOURCE: Final = "agent"


class ServedAgent:
    """This process as one of those that take calls in the name of an agent.

    Owner: `ServedAgents`, from `start` to `close`. Called from the event loop.
    """

    def __init__(
        self,
        client: Client,
        profile: AgentProfile,
        calls: CallSessions,
        capacity: int,
        entry: RegisterEntry,
        instance: str,
        crypto: LeaseCrypto | None = None,
        metrics: Metrics = OFF,
    ) -> None:
        """`entry`: in the register, of this agent. `instance`: our name among the processes of the agent.

        `capacity`: of the process, whose places all its agents share.
        """
        self.name = profile.name
        self._client, self._calls, self._entry = client, calls, entry
        self._profile = profile
        self._gone = ""
        """Why it gets no further call; empty: it is there."""
        self._refused: tuple[str, ...] = ()
        self._wishes, refused = wishes_of(profile, calls.support)
        self._tell_refused(refused)
        admission = self.admission = calls.admission(self.name, self._unfit)
        self._keeper = LeaseKeeper(
            client,
            self.name,
            self._take_over,
            lambda session_id: calls.lost(self.name, session_id),
            lambda: admission.places,
            instance,
            crypto,
            lambda: admission.room,
            lambda: len(calls) - len(self._keeper.table),
        )
        self._claims = Claims(client, self.name, capacity, instance, calls, admission, self._accept, metrics)
        self._service: Service | None = None
        self._drain: Subscription | None = None

    # ---- life ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Be known as alive: calls of dead processes come from then on. `RefusedError` if NATS does not allow it."""
        await self._keeper.start()

    async def serve(self, stop_process: Callable[[], None]) -> Service:
        """Register: claims may come. `stop_process()` does what SIGTERM does: an operator may ask for it."""
        service = self._service = await service_discovery.register(
            self._client, service_discovery.AGENT_SERVICE, self._entry.metadata, self.figures
        )
        self._drain = await process_drain.listen(
            self._client, service_discovery.AGENT_SERVICE, service.id, stop_process
        )
        await self._claims.serve(service)
        return service

    async def stop(self) -> None:
        """No further claims, and none that waits to be passed on."""
        self.admission.stop()
        if self._service is not None:
            await self._service.stop()
        if self._drain is not None and not self._client.is_closed:
            await self._drain.unsubscribe()
        await self._claims.close()

    async def close(self) -> None:
        """Leave: other processes of this agent go on with what we hold, at once."""
        await self._keeper.close()

    # ---- what the agent says of itself ---------------------------------------------------------------

    def present(self, profile: AgentProfile) -> None:
        """It is there. Calls that run keep the profile that they began with."""
        if self._gone:
            log.info("agent %s is there again", self.name)
        self._gone = ""
        self._entry.tell(_SOURCE, "")
        if profile is not self._profile:
            self._profile = profile
            self._wishes, refused = wishes_of(profile, self._calls.support)
            self._tell_refused(refused)

    def gone(self, why: str) -> None:
        """It takes no further calls; those that run stay here until they end, or it is back."""
        if not self._gone and (count := self._calls.count(self.name)):
            log.warning("agent %s: %s, %d calls of it stay here", self.name, why, count)
        self._gone = why
        self._entry.tell(_SOURCE, why)

    @property
    def is_idle(self) -> bool:
        """There is no call of it here, nor a lease."""
        return not self._calls.count(self.name) and not len(self._keeper.table)

    def received(self, beat: AgentBeat, now: float) -> None:
        """A beat of this agent came, perhaps our own."""
        self._claims.received(beat, now)

    def figures(self) -> dict[str, Any]:
        """What the register's statistics show: its own calls, and how many it could have now."""
        count = self._calls.count(self.name)
        capacity = count + max(0, self.admission.places)
        return {**self._claims.figures(), "sessions": count, "capacity": capacity}

    # ---- inside --------------------------------------------------------------------------------------

    def _terms(self) -> CallTerms:
        return CallTerms(self._profile, self._wishes, self._keeper)

    def _unfit(self) -> tuple[str, int]:
        if self._gone:
            return self._gone, GONE_RETRY
        busy = self._profile.busy()
        return busy, BUSY_RETRY if busy else 0

    async def _accept(self, claim: messages.Claim) -> bool:
        lease = self.admission.lease(claim, telemetry.trace_headers(), time.time())
        return await self._calls.accept(lease, self._terms())

    async def _take_over(self, lease: messages.Lease) -> bool:
        return await self._calls.take_over(lease, self._terms())

    def _tell_refused(self, refused: tuple[str, ...]) -> None:
        for each in refused:
            if each not in self._refused:
                log.warning("agent %s: this bridge's own is taken: %s", self.name, each)
        self._refused = refused
