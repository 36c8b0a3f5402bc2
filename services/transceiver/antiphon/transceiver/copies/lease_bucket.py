"""The copy leases in the hub's registers: reads and swaps, decided by `quorum_lease`.

Requests go to all registers side by side; an operation ends with the answers of a majority. Every method raises one of
`BUS_ERRORS` when too few answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from antiphon.runtime import tasks
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas.messages import CopyLease, LeaseRegister
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies.lease_register import Hub, HubLines, Register
from antiphon.transceiver.copies.quorum_lease import Change, Known, Outcome, QuorumLease, Request

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

OPERATION_WITHIN: Final = 1.2
"""Seconds: of a lease of 2 s, renewed twice a second. A read and a write by the second connection fit in."""
AGAIN_SECONDS: Final = 0.05
"""After a request that failed at once."""
GRACE_SECONDS: Final = 0.1
"""For registers behind the first majority of a look."""
MAX_LEASES: Final = 8192
"""Leases of which we know what the registers hold; of others it is read first."""


class _Lease:
    """One lease and what is on its way for it."""

    def __init__(self, quorum: QuorumLease) -> None:
        self.quorum = quorum
        self.one_at_a_time = asyncio.Lock()
        self.ended: asyncio.Future[Outcome] | None = None


class LeaseBucket:
    """Owner: the process, from its start to `close`. Event loop only; several calls may be on their way at a time."""

    def __init__(self, hubs: Sequence[Hub], registers: int, process_id: str) -> None:
        """`hubs`: connections to different servers of the hub. `registers`: of all processes the same number."""
        lines = HubLines(hubs)
        self.registers = [Register(number, registers, lines) for number in range(1, registers + 1)]
        self._process_id = process_id
        self._leases: OrderedDict[Identity, _Lease] = OrderedDict()
        self._at_work: set[asyncio.Task[Any]] = set()

    async def read(self, identity: Identity, everywhere: bool = False) -> tuple[CopyLease, int] | None:
        """The lease on this transceiver's calls, and its number; None: there is none.

        `everywhere`: only if every register says so there is none.
        """
        outcome = await self._run(identity, lambda quorum: quorum.read(True, everywhere))
        if not outcome.done:
            raise TimeoutError(f"the registers of the lease of {identity} do not agree")
        return (outcome.lease, outcome.number) if outcome.lease is not None else None

    async def swap(self, lease: CopyLease, number: int) -> int | None:
        """Write it in the place of that number (0: where there is none); the new number. None: another is there."""
        identity = lease.cluster, lease.slot, lease.epoch

        def change(_: CopyLease | None, present: int) -> CopyLease | None:
            return lease if present == number else None

        outcome = await self._run(identity, lambda quorum: quorum.swap(change, create=number == 0))
        return outcome.number if outcome.done else None

    async def take(self, identity: Identity, change: Change, only: Collection[int]) -> tuple[CopyLease, int] | None:
        """Write what `change` makes of what stands there, by these registers (from 0); None: it was left."""
        outcome = await self._run(identity, lambda quorum: quorum.swap(change, only=only))
        return (outcome.lease, outcome.number) if outcome.done and outcome.lease is not None else None

    async def look(self, identity: Identity) -> dict[int, LeaseRegister | None]:
        """What registers hold that answer; `TimeoutError` if they are no majority. Changes nothing."""
        reads = [asyncio.create_task(register.read(identity)) for register in self.registers]
        waiting: set[asyncio.Task[Known]] = set(reads)
        found: dict[int, LeaseRegister | None] = {}
        majority = len(reads) // 2 + 1
        try:
            while waiting:
                patience = GRACE_SECONDS if len(found) >= majority else None
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for index, read in enumerate(reads):
                    if read.done() and index not in found:
                        with contextlib.suppress(*BUS_ERRORS):
                            found[index] = read.result().entry
        finally:
            for read in waiting:
                read.cancel()
        if len(found) < majority:
            raise TimeoutError(f"{len(found)} of {len(reads)} registers of the copy leases answer")
        return found

    async def _run(self, identity: Identity, begin: Callable[[QuorumLease], None]) -> Outcome:
        lease = self._lease(identity)
        async with asyncio.timeout(OPERATION_WITHIN), lease.one_at_a_time:
            lease.ended = asyncio.get_running_loop().create_future()
            try:
                begin(lease.quorum)
                self._go_on(identity, lease)
                return await lease.ended
            finally:
                if lease.quorum.outcome is None:
                    lease.quorum.give_up()
                lease.ended = None

    def _lease(self, identity: Identity) -> _Lease:
        if identity not in self._leases:
            proposer = f"{self._process_id}-{secrets.token_hex(4)}"
            self._leases[identity] = _Lease(QuorumLease(len(self.registers), proposer))
            if len(self._leases) > MAX_LEASES:
                self._leases.popitem(last=False)
        self._leases.move_to_end(identity)
        return self._leases[identity]

    def _go_on(self, identity: Identity, lease: _Lease) -> None:
        outcome = lease.quorum.outcome
        if outcome is not None and lease.ended is not None and not lease.ended.done():
            lease.ended.set_result(outcome)
        for request in lease.quorum.requests():
            task = asyncio.create_task(self._ask(identity, lease, request))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _ask(self, identity: Identity, lease: _Lease, request: Request) -> None:
        register = self.registers[request.register]
        try:
            if request.entry is None:
                lease.quorum.has_read(request, await register.read(identity))
            else:
                lease.quorum.written(request, await register.write(identity, request))
        except BUS_ERRORS as error:
            if "ANTIPHON_HUB_REPLICAS" in str(error):
                complaints.warning(str(error))
            log.debug("%s: no answer: %r", register.name, error)
            await asyncio.sleep(AGAIN_SECONDS)
            lease.quorum.failed(request)
        except BaseException:
            lease.quorum.failed(request)
            raise
        self._go_on(identity, lease)

    async def close(self) -> None:
        """End what is on its way."""
        await tasks.end(*self._at_work)
