"""The requests that a transceiver answers under its slot, in the services register of NATS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.micro.request import Request
from nats.micro.service import Service

from antiphon.runtime.nats import service_discovery
from antiphon.runtime.nats.connection import NO_GROUP
from antiphon.transceiver.net.endpoint import TransceiverIdentity


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
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """`statistics()` is what the register shows as data of each operation. `metadata`: besides the slot."""
        self._metadata = dict(metadata or {})
        self._client = client
        self._operations = tuple(operations)
        self._statistics = statistics
        self._service: Service | None = None

    @property
    def instance(self) -> str:
        """Its id in the register; empty while it is not registered."""
        return self._service.id if self._service is not None else ""

    async def start(self, identity: TransceiverIdentity) -> None:
        """Answer requests of this slot."""
        self._service = await service_discovery.register(
            self._client, "antiphon-transceiver", {"slot": str(identity.slot), **self._metadata}, self._statistics
        )
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
