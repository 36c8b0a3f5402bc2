"""The backbone's side of the control process: other relays and moved slots in, this relay's number and way out.

`RelayNatsClient` passes on what comes by NATS; the tables go to the workers whenever they change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.relay.control.backbone_table import BackboneTable, Row
from antiphon.relay.control.ingress_number import IngressNumber
from antiphon.relay.control.ipc import Backbone, Ingress, Moves
from antiphon.relay.control.slot_move_table import SlotMoveTable
from antiphon.relay.control.state_file import StateFile
from antiphon.relay.settings import NO_CLUSTER, RelaySettings
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import Place, RelayAnnouncement, SlotMoved, decode
from antiphon.schemas.slot_moves import ClusterKeys, SlotMove

log = logging.getLogger(__name__)

MAX_ROUND_TRIPS: Final = 256
"""In the announcement: the nearest clusters."""


class BackboneTables(NamedTuple):
    """What the workers and the state file get whenever some of it has changed. A value."""

    relays: list[Row]
    moves: list[tuple[tuple[int, int, int], tuple[int, int, int], int]]
    """Old identity, new identity, made at."""
    ingress: int

    def messages(self) -> list[Backbone | Moves | Ingress]:
        """As the workers get them."""
        return [
            Ingress(self.ingress),
            Backbone(self.relays),
            Moves([(old, new) for old, new, _ in self.moves]),
        ]


class BackboneClient:
    """Knows the other relays, moved slots and this relay's ingress number: `run` until cancelled.

    Belongs to `Control` and lives as long as the relay, also where it has no backbone; its callers are on the event
    loop of the control process.
    """

    def __init__(
        self,
        settings: RelaySettings,
        saved: StateFile,
        jetstream_of_hub: Callable[[], JetStreamContext | None] | None,
        on_change: Callable[[BackboneTables], None],
    ) -> None:
        """`jetstream_of_hub`: None where there is no hub; `on_change` is called with all tables when one changed."""
        bind = settings.relay_backbone_bind
        self.has_backbone = bind is not None
        self.believes_moves = bool(settings.cluster_keys_text())
        self._cluster = None if settings.cluster in (None, NO_CLUSTER) else settings.cluster
        self._place = settings.relay_place
        self._on_change = on_change
        now = time.monotonic()
        self._table = BackboneTable(settings.relay_name, self._cluster, (), ipv6=bind is not None and ":" in bind.host)
        self._moves = SlotMoveTable(ClusterKeys.from_text(settings.cluster_keys_text()))
        if self.has_backbone:
            self._table.restore(saved.relays, now)
        if self.believes_moves:
            self._moves.restore([SlotMove(*move) for move in saved.moves], now)
        self._number = IngressNumber(
            settings.relay_name,
            settings.relay_ingress,
            saved.ingress,
            jetstream_of_hub,
            self._table.ingress_numbers,
            lambda number: self._push(f"ingress number {number}"),
        )
        self._pushed: BackboneTables | None = None

    async def run(self) -> None:
        """Keep the ingress number, where there is a backbone."""
        if self.has_backbone:
            await self._number.run()

    @property
    def ingress(self) -> int:
        """The relay's number; 0: none."""
        return self._number.number if self.has_backbone else 0

    @property
    def relays(self) -> int:
        """How many processes of other clusters' relays are announced."""
        return len(self.tables().relays)

    @property
    def moves(self) -> int:
        """How many slots have moved."""
        return len(self._moves.moves())

    def tables(self) -> BackboneTables:
        """What the workers begin with."""
        moves = [(move.old, move.new, move.made_at) for move in self._moves.moves()]
        return BackboneTables(self._table.rows(self.ingress), moves, self.ingress)

    def announced(self, addresses: Collection[str], round_trips: dict[int, float]) -> dict[str, Any]:
        """The fields of this relay's announcement; `addresses`: of its own backbone sockets."""
        self._table.set_own_addresses(addresses)
        nearest = sorted(round_trips.items(), key=lambda each: each[1])[:MAX_ROUND_TRIPS]
        latitude, longitude = self._place or (0.0, 0.0)
        return {
            "cluster": self._cluster,
            "ingress": self.ingress,
            "place": Place(latitude=latitude, longitude=longitude) if self._place is not None else None,
            "backbone_addresses": list(addresses),
            "round_trips": {str(cluster): round(ms, 2) for cluster, ms in nearest},
        }

    # ---- what comes by NATS ----

    def on_announcement(self, name: str, data: bytes) -> None:
        """Another relay's announcement, under this name."""
        try:
            announcement = decode(data, RelayAnnouncement)
            if announcement.name != name:
                raise MalformedError(f"relay {announcement.name!r:.64} is announced under the name {name}")
        except MalformedError as error:
            log.warning("an announcement of a relay is ignored: %s", error)
            return
        if self._table.update(announcement, time.monotonic()):
            self._push(f"relay {name} of cluster {announcement.cluster}, {announcement.state}")

    async def on_moved(self, message: Msg) -> None:
        """A slot's sessions go on in another cluster."""
        try:
            moved = decode(message.data, SlotMoved)
            if message.subject != subjects.cluster_moved(moved.cluster):
                raise MalformedError(f"it names cluster {moved.cluster}")
        except MalformedError as error:
            log.warning("a move of a slot on %.80s is ignored: %s", message.subject, error)
            return
        if self._moves.update(moved, time.monotonic()):
            self._push(f"{moved.cluster}.{moved.slot}.{moved.epoch} goes on as {'.'.join(map(str, moved.move.new))}")

    def expire(self, now: float, bus_alive: bool) -> None:
        """Drop what was not renewed; once a second."""
        if self._table.expire(now, bus_alive) | self._moves.expire(now, bus_alive):
            self._push("announcements expired")

    def _push(self, why: str) -> None:
        tables = self.tables()
        if tables != self._pushed:
            self._pushed = tables
            log.info("backbone: %s: %d relays, %d slots moved", why, len(tables.relays), len(tables.moves))
            self._on_change(tables)
