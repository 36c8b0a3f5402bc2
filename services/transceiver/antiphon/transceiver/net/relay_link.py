"""What relays and transceivers tell each other over NATS: announcements, and which clients are ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from antiphon.runtime.nats import buckets
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import MalformedError, messages, subjects, tunnel
from antiphon.schemas.addresses import parse_address
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints
from antiphon.transceiver.net.relay_allowlist import RelayAllowlist
from antiphon.transceiver.net.relay_names import RelayNames
from antiphon.transceiver.net.tunnel_receiver import client_headers, ingress_in, send_clients
from antiphon.transceiver.session.session import Session

log = logging.getLogger(__name__)

NOTICES: Final = (10, 20)
"""Announcements of relays that end, per second and at once, of which clients are told: each makes one once a second."""
UNASKED: Final = (32, 128)
"""New addresses of relays that are sent our clients unasked, per second and at once: others say hello again."""
RELAY_DRAINING: Final = '{"type":"antiphon.relay_draining"}'
"""To the client: its relay ends soon, another one of the answer is the better way (docs/antiphon-js.md)."""


class RelayLink:
    """Fills the allowlist with announced relays, and tells relays which clients are ours.

    Owner: the process, for its whole life. Event loop only; the NATS client calls its handlers.
    """

    def __init__(
        self, client: Client, demux: Demux, endpoints: Endpoints, relays: RelayAllowlist, names: RelayNames
    ) -> None:
        self._client = client
        self._demux = demux
        self._endpoints = endpoints
        self._relays = relays
        self._names = names
        self._loop = asyncio.get_running_loop()
        self._notices = TokenBucket(*NOTICES)
        self._unasked = TokenBucket(*UNASKED)

    async def start(self, js: JetStreamContext) -> None:
        """Receive announcements of relays, those made before us included."""
        await self._client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._relay_announced)
        await self._client.subscribe(subjects.FLOW_FIND, cb=self._flow_find)
        with contextlib.suppress(nats.errors.Error):
            for entry in await buckets.read_all(js, subjects.BUCKET_RELAYS):
                self._take_announcement(entry.value)

    def poll(self, now: float, bus_answers: bool) -> None:
        """Forget relays that keep silent, as long as NATS delivers announcements at all."""
        if bus_answers:
            self._relays.expire(now)
        else:
            self._relays.renew(now)

    def send_client(self, session: Session, endpoint: Endpoint) -> None:
        """Tell every relay that this session's client is at this endpoint now, if it entered by one of this place."""
        headers = [header for header in session.ice.headers if not ingress_in(header)]
        for relay in self._relays:
            for header in headers:
                endpoint.socket.send(header, relay)

    def flows(self) -> dict[bytes, messages.FlowOwner]:
        """The owner of each of our clients, by tunnel header."""
        found: dict[bytes, messages.FlowOwner] = {}
        for endpoint in self._endpoints:
            owner = messages.FlowOwner(**endpoint.identity._asdict())
            found |= dict.fromkeys(client_headers(self._demux, endpoint), owner)
        return found

    async def _relay_announced(self, message: Msg) -> None:
        self._take_announcement(message.data)

    def _take_announcement(self, data: bytes) -> None:
        try:
            relay = messages.decode(data, messages.RelayAnnouncement)
        except MalformedError as error:
            log.warning("%s", error)
            return
        self._names.announced(relay)
        # Its hello may have come before we trusted it: send our clients unasked.
        now = self._loop.time()
        new = [each for each in self._relays.announce(relay, now) if self._unasked.take(1, now)]
        for endpoint in self._endpoints if new else ():
            send_clients(self._demux, endpoint, new)
        if relay.state == "draining" and self._notices.take(1, now):
            self._notify_of_draining(relay)

    def _notify_of_draining(self, relay: messages.RelayAnnouncement) -> None:
        """Tell the clients of a relay that is about to end, while it still forwards; it announces so once a second.

        A relay between us and the ingress of a client is no way of the client's: the ingress chooses another one.
        """
        leaving = {self._relays.as_seen(*parse_address(text)) for text in relay.tunnel_addresses}
        ingress = relay.ingress.to_bytes(2, "big")
        for session in self._demux:
            if (path := session.ice.path) is None:
                continue
            entered = ingress_in(path.header)
            if entered == ingress if entered else path.relay in leaving:
                session.send_message(messages.EVENTS_CHANNEL, RELAY_DRAINING)

    async def _flow_find(self, message: Msg) -> None:
        try:
            question = messages.decode(message.data, messages.FlowFind)
            header = tunnel.pack_header(parse_address(question.client), question.tcp)
        except MalformedError:
            return
        session = self._demux.owner_of(header)
        if session is not None:
            identity = self._endpoints.of(session.state.session_id).identity
            await message.respond(messages.encode(messages.FlowOwner(**identity._asdict())))
