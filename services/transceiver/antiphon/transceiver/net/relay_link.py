"""What relays say and ask: tunnel packets, announcements, hellos, whose client somebody is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.runtime.nats import buckets
from antiphon.schemas import MalformedError, messages, subjects, tunnel
from antiphon.schemas.addresses import parse_address
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.net.endpoint import Endpoint
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist, on_socket
from antiphon.transceiver.session.session import Session

log = logging.getLogger(__name__)

RELAY_DRAINING = '{"type":"antiphon.relay_draining"}'
"""To the client: its relay ends soon, another one of the answer is the better way (docs/antiphon-js.md)."""


class RelayLink:
    """Packets of announced relays go to the registry; relays learn whose clients are ours."""

    def __init__(self, sessions: SessionTable, client: Client, ipv6: bool) -> None:
        """`ipv6`: our sockets are, and see relays on IPv4 as ::ffff:a.b.c.d."""
        self._registry = sessions.registry
        self._seats = sessions.seats
        self._client = client
        self._ipv6 = ipv6
        self._relays = RelayAllowlist(ipv6)
        self._loop = asyncio.get_running_loop()
        self.is_transceiver: Callable[[tuple[str, int]], bool] = lambda source: False
        """Whether another transceiver announces this address: it passes on what came for sessions that are here."""

    async def start(self, js: JetStreamContext) -> None:
        """Hear of relays, those announced before us included."""
        await self._client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._relay_announced)
        await self._client.subscribe(subjects.FLOW_FIND, cb=self._flow_find)
        relays = await buckets.bucket(js, subjects.BUCKET_RELAYS, ttl=buckets.ANNOUNCE_TTL)
        with contextlib.suppress(nats.errors.Error):
            for key in await relays.keys():
                self._take_relay((await relays.get(key)).value or b"")

    def received(self, seat: Callable[[], Endpoint], packet: bytes, source: tuple[str, int]) -> None:
        """One datagram of a seat's socket."""
        if source not in self._relays:
            if packet[:2] != tunnel.FORWARDED or not self._passed_on(packet, source):
                self._registry.counters.untrusted += 1
        elif packet == tunnel.HELLO:
            self._tell_clients(seat(), [source])
        else:
            self._registry.receive(packet, source, self._loop.time(), time.time_ns())

    def _passed_on(self, packet: bytes, source: tuple[str, int]) -> bool:
        """A relay's packet that another transceiver passes on; False if it does not come from one."""
        try:
            relay, inner = tunnel.unpack_forwarded(packet)
        except MalformedError:
            return False
        seen = self.as_seen(relay.host, relay.port)
        if seen not in self._relays or not self.is_transceiver(source):
            return False
        self._registry.receive(inner, seen, self._loop.time(), time.time_ns())
        return True

    def poll(self, now: float, bus_answers: bool) -> None:
        """Forget relays that keep silent, while somebody could hear them."""
        if bus_answers:
            self._relays.expire(now)
        else:
            self._relays.renew(now)

    def as_seen(self, host: str, port: int) -> tuple[str, int]:
        """A relay's address as our sockets name it."""
        return on_socket(host, self._ipv6), port

    def tell_of(self, session: Session, seat: Endpoint) -> None:
        """Tell every relay that this session's client is here now."""
        for relay in self._relays:
            for header in session.ice.headers:
                seat.port.send(header, relay)

    def flows(self) -> dict[bytes, messages.FlowOwner]:
        """Whose each of our clients is, by tunnel header."""
        found: dict[bytes, messages.FlowOwner] = {}
        for seat in self._seats:
            cluster, slot, epoch = seat.identity
            owner = messages.FlowOwner(cluster=cluster, slot=slot, epoch=epoch)
            found |= dict.fromkeys(self._headers(seat), owner)
        return found

    def _headers(self, seat: Endpoint) -> list[bytes]:
        return [
            header
            for session_id in seat.sessions
            if (session := self._registry.get(session_id)) is not None
            for header in session.ice.headers
        ]

    def _tell_clients(self, seat: Endpoint, relays: Iterable[tuple[str, int]]) -> None:
        """Bare headers of a seat's clients: the relay learns its flows from them."""
        headers = self._headers(seat)
        for relay in relays:
            for header in headers:
                seat.port.send(header, relay)

    async def _relay_announced(self, message: Msg) -> None:
        self._take_relay(message.data)

    def _take_relay(self, data: bytes) -> None:
        try:
            relay = messages.decode(data, messages.RelayAnnouncement)
        except MalformedError as error:
            log.warning("%s", error)
            return
        # Its hello may have come before we trusted it: tell it unasked.
        new = self._relays.announce(relay, self._loop.time())
        for seat in self._seats if new else ():
            self._tell_clients(seat, new)
        if relay.state == "draining":
            self._tell_of_draining(relay)

    def _tell_of_draining(self, relay: messages.RelayAnnouncement) -> None:
        """Clients on a relay that is about to end hear of it while it still forwards; it says so once a second."""
        leaving = {self.as_seen(*parse_address(text)) for text in relay.tunnel_addresses}
        for session in self._registry:
            if session.ice.path is not None and session.ice.path.relay in leaving:
                session.send_message(messages.EVENTS_CHANNEL, RELAY_DRAINING)

    async def _flow_find(self, message: Msg) -> None:
        try:
            question = messages.decode(message.data, messages.FlowFind)
            header = tunnel.pack_header(parse_address(question.client), question.tcp)
        except MalformedError:
            return
        session = self._registry.owner_of(header)
        if session is not None:
            cluster, slot, epoch = self._seats.of(session.state.session_id).identity
            await message.respond(messages.encode(messages.FlowOwner(cluster=cluster, slot=slot, epoch=epoch)))
