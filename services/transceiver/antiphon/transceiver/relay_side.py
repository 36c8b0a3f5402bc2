"""What relays say and ask: tunnel packets, announcements, hellos, whose client somebody is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.schemas import MalformedError, bus, messages, subjects, tunnel
from antiphon.schemas.addresses import parse_address
from antiphon.transceiver.registry import Registry
from antiphon.transceiver.seat import Seat
from antiphon.transceiver.trusted_relays import TrustedRelays

log = logging.getLogger(__name__)

RELAY_DRAINING = '{"type":"antiphon.relay_draining"}'
"""To the client: its relay ends soon, another one of the answer is the better way (docs/antiphon-js.md)."""


class RelaySide:
    """Packets of announced relays go to the registry; relays learn whose clients are ours."""

    def __init__(self, registry: Registry, client: Client) -> None:
        self.seat: Seat
        self._registry = registry
        self._client = client
        self._relays = TrustedRelays()
        self._loop = asyncio.get_running_loop()

    async def start(self, js: JetStreamContext) -> None:
        """Hear of relays, those announced before us included."""
        await self._client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._relay_announced)
        await self._client.subscribe(subjects.FLOW_FIND, cb=self._flow_find)
        relays = await bus.bucket(js, subjects.BUCKET_RELAYS, ttl=bus.ANNOUNCE_TTL)
        with contextlib.suppress(nats.errors.Error):
            for key in await relays.keys():
                self._take_relay((await relays.get(key)).value or b"")

    def received(self, packet: bytes, source: tuple[str, int]) -> None:
        """One datagram of the socket."""
        if source not in self._relays:
            self._registry.counters.untrusted += 1
        elif packet == tunnel.HELLO:
            self._tell_clients([source])
        else:
            self._registry.receive(packet, source, self._loop.time())

    def poll(self, now: float, bus_answers: bool) -> None:
        """Forget relays that keep silent, while somebody could hear them."""
        if bus_answers:
            self._relays.expire(now)
        else:
            self._relays.renew(now)

    def _tell_clients(self, relays: Iterable[tuple[str, int]]) -> None:
        """Bare headers of all our clients: the relay learns its flows from them."""
        for relay in relays:
            for header in self._registry.clients():
                self.seat.port.send(header, relay)

    async def _relay_announced(self, message: Msg) -> None:
        self._take_relay(message.data)

    def _take_relay(self, data: bytes) -> None:
        try:
            relay = messages.decode(data, messages.RelayAnnouncement)
        except MalformedError as error:
            log.warning("%s", error)
            return
        # Its hello may have come before we trusted it: tell it unasked.
        self._tell_clients(self._relays.announce(relay, self._loop.time()))
        if relay.state == "draining":
            self._tell_of_draining(relay)

    def _tell_of_draining(self, relay: messages.RelayAnnouncement) -> None:
        """Clients on a relay that is about to end hear of it while it still forwards; it says so once a second."""
        leaving = {(host, port) for host, port in map(parse_address, relay.tunnel_addresses)}
        for session in self._registry:
            if session.ice.path is not None and session.ice.path.relay in leaving:
                session.send_message("oai-events", RELAY_DRAINING)

    async def _flow_find(self, message: Msg) -> None:
        try:
            question = messages.decode(message.data, messages.FlowFind)
            header = tunnel.pack_header(parse_address(question.client), question.tcp)
        except MalformedError:
            return
        if self._registry.owner_of(header) is not None:
            cluster, slot, epoch = self.seat.identity
            await message.respond(messages.encode(messages.FlowOwner(cluster=cluster, slot=slot, epoch=epoch)))
