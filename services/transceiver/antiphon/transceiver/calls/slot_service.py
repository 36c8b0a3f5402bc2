"""The requests that a transceiver answers under its slot, in the services register of NATS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.micro.request import Request
from nats.micro.service import Service

from antiphon.runtime.nats import connection, process_drain, service_discovery
from antiphon.runtime.nats.connection import NO_GROUP
from antiphon.transceiver.net.endpoint import TransceiverIdentity

NAME: Final = "antiphon-transceiver"
"""In the register."""


class Operation(NamedTuple):
    """One kind of request."""

    name: str
    subject: Callable[[int, int], str]
    """Of cluster and slot."""
    handler: Callable[[Request], Awaitable[None]]


class SlotService:
    """Registers the operations under one slot at a time.

    Owner: the process, for its whole life. Event loop only; `SlotKeeper` moves it to another slot.
    """

    def __init__(
        self,
        client: Client,
        operations: Sequence[Operation],
        statistics: Callable[[], dict[str, Any]],
        metadata: Mapping[str, str],
        stop_process: Callable[[], None],
    ) -> None:
        """`statistics()` is what the register shows as data of each operation, `metadata` what it shows of the process.
        `stop_process()` does what SIGTERM does: an operator may ask for it."""
        self._client = client
        self._operations = tuple(operations)
        self._statistics = statistics
        self._metadata = dict(metadata)
        self._stop_process = stop_process
        self._service: Service | None = None
        self._drains: Subscription | None = None

    @property
    def id(self) -> str:
        """Of this process in the register; empty while it is in none."""
        return self._service.id if self._service is not None else ""

    async def start(self, identity: TransceiverIdentity) -> None:
        """Answer requests of this slot."""
        self._service = await service_discovery.register(
            self._client, NAME, self._metadata | {"slot": str(identity.slot)}, self._statistics
        )
        self._drains = await process_drain.listen(self._client, NAME, self._service.id, self._stop_process)
        for operation in self._operations:
            subject = operation.subject(identity.cluster, identity.slot)
            await self._service.add_endpoint(
                name=operation.name, subject=subject, handler=operation.handler, queue_group=NO_GROUP
            )

    async def stop(self) -> None:
        """Answer no more requests of the slot. May be called again."""
        if self._service is not None:
            await self._service.stop()
            self._service = None
        if self._drains is not None:
            drains, self._drains = self._drains, None
            await connection.stop_answering(self._client, drains)
