"""The transceiver's shell: its socket, its clock, NATS. What a call does is decided in `session`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import string
import time
from collections.abc import Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.kv import KeyValue
from opentelemetry import trace

from antiphon.schemas import MalformedError, audio, bus, messages, subjects, tasks, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver import nats_direct, sdp
from antiphon.transceiver.dtls_handshake import Certificate
from antiphon.transceiver.handshake_queue import HandshakeQueue
from antiphon.transceiver.kept_flows import KeptFlows
from antiphon.transceiver.outlet import Publisher, SessionOutlet
from antiphon.transceiver.port import TunnelPort
from antiphon.transceiver.registry import Registry
from antiphon.transceiver.session import Session
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.slots import Slot, claim_slot
from antiphon.transceiver.state import RtpState, SessionState
from antiphon.transceiver.trusted_relays import TrustedRelays
from antiphon.transceiver.wheel import Wheel

log = logging.getLogger(__name__)
tracer = trace.get_tracer("antiphon.transceiver")

CLAIM_TIMEOUT: Final = 0.5
CERTIFICATE_LIFETIME: Final = 24 * 3600.0
"""Seconds after which new sessions get a new certificate; running ones keep theirs."""
POLL_INTERVAL: Final = 0.05
BUS_SILENCE: Final = 2.0
"""Seconds without an answer from NATS after which missing announcements prove nothing."""
MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the session's birth."""
RELAY_DRAINING: Final = '{"type":"antiphon.relay_draining"}'
"""To the client: its relay ends soon, another one of the answer is the better way (docs/antiphon-js.md)."""
_ID_ALPHABET: Final = string.ascii_letters + string.digits


class Transceiver:
    """One process: one socket, one slot, many sessions."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._keyring = settings.keyring()
        self._password_key = settings.password_key_bytes()
        self._certificate = Certificate()
        self._certified_at = self._loop.time()
        self._registry = Registry()
        self._relays = TrustedRelays()
        self._wheel = Wheel(self._loop.time())
        self._wheel_timer: asyncio.TimerHandle | None = None
        self._handshakes = HandshakeQueue(self._loop.time(), time.perf_counter)
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._publisher = Publisher(client)
        self._subscriptions: dict[str, list[Any]] = {}
        self._early: dict[str, list[nats_direct.Heard]] = {}
        """What agents say to sessions that are being made: an agent may speak as soon as it is asked."""
        self._requests: set[asyncio.Task[None]] = set()
        self._bus_answered = self._loop.time()
        self._opening = 0
        """Slots reserved by offers that are being answered."""
        self._draining = False
        self._slot = Slot(0, 0)
        self._address = ""
        host, _, port = settings.transceiver_bind.rpartition(":")
        self._port = TunnelPort(
            host.strip("[]"), int(port), self._received, self._publisher.hold, self._publisher.release
        )
        self._tasks: list[asyncio.Task[None]] = []

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take a slot, listen, announce."""
        settings, client = self._settings, self._client
        js = client.jetstream()
        self._slot = await claim_slot(js, settings.cluster, settings.slot)
        host = settings.transceiver_advertise or bus.local_host_towards(settings.nats_url)
        self._address = str(Address(host, self._port.port))
        await client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._relay_announced)
        await client.subscribe(subjects.FLOW_FIND, cb=self._flow_find)
        relays = await bus.bucket(js, subjects.BUCKET_RELAYS, ttl=bus.ANNOUNCE_TTL)
        with contextlib.suppress(nats.errors.Error):
            for key in await relays.keys():
                self._take_relay((await relays.get(key)).value or b"")
        service = await bus.register(client, "antiphon-transceiver", {"slot": str(self._slot.number)})
        await service.add_endpoint(
            name="open",
            subject=subjects.transceiver_open(settings.cluster, self._slot.number),
            handler=self._open_requested,
        )
        bucket = await bus.bucket(js, subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL)
        self._tasks = [
            asyncio.create_task(self._announce_forever(bucket)),
            asyncio.create_task(self._poll_forever()),
        ]
        if settings.keep_flows:
            flows = KeptFlows(client, self._as_owner(), self._registry.clients)
            self._tasks.append(asyncio.create_task(flows.run()))
        log.info("slot %d of cluster %d, epoch %d, %s", self._slot.number, settings.cluster, self._slot.epoch, "ready")

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no more sessions and let the running ones end by themselves: until the setting, or `hurry`."""
        seconds = self._settings.drain_seconds
        self._draining = True
        if not seconds or not len(self._registry):
            return
        log.info("draining %d sessions for at most %g s", len(self._registry), seconds)
        for session in self._registry:
            session.announce_draining(seconds)
        with contextlib.suppress(Exception):
            await self._client.publish(*self._announcement())
        deadline = self._loop.time() + seconds
        while len(self._registry) and self._loop.time() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL):
                    await hurry.wait()
                return

    async def stop(self) -> None:
        """End all sessions, say so, let go of everything."""
        self._draining = True
        now = self._loop.time()
        for request in tuple(self._requests):
            request.cancel()
        for session in self._registry:
            session.end("draining", now)
            self._forget(session)
        with contextlib.suppress(Exception):
            await self._client.publish(*self._announcement())
        await self._publisher.drain()
        await tasks.end(*self._tasks)
        for timer in (self._wheel_timer, self._handshake_timer):
            if timer is not None:
                timer.cancel()
        self._port.close()

    def _announcement(self) -> tuple[str, bytes]:
        announcement = messages.TransceiverAnnouncement(
            cluster=self._settings.cluster,
            slot=self._slot.number,
            epoch=self._slot.epoch,
            tunnel_address=self._address,
            state="draining" if self._draining else "ready",
            sessions=len(self._registry) + self._opening,
            capacity=self._settings.capacity,
            lateness_ms=round(self._wheel.lateness(self._loop.time(), 0.99)[0] * 1000, 2),
        )
        subject = subjects.transceiver_announce(self._settings.cluster, self._slot.number)
        return subject, messages.encode(announcement)

    async def _announce_forever(self, bucket: KeyValue) -> None:
        key = subjects.slot_key(self._settings.cluster, self._slot.number)
        while True:
            subject, announcement = self._announcement()
            try:
                await self._client.publish(subject, announcement)
                await bucket.put(key, announcement)
                self._bus_answered = self._loop.time()
            except Exception as error:  # NATS is away, or has lost its store: whatever it is, try again
                log.debug("announcing failed: %r", error)
                if self._client.is_connected:
                    with contextlib.suppress(Exception):
                        bucket = await bus.bucket(
                            self._client.jetstream(), subjects.BUCKET_TRANSCEIVERS, ttl=bus.ANNOUNCE_TTL
                        )
            await asyncio.sleep(1)

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            now = self._loop.time()
            for session in self._registry:
                session.poll(now)
                if session.ended is not None:
                    self._forget(session)
            if now - self._bus_answered < BUS_SILENCE:
                self._relays.expire(now)
            else:
                self._relays.renew(now)

    # ---- datagrams -----------------------------------------------------------------------------------

    def _received(self, packet: bytes, source: tuple[str, int]) -> None:
        if source not in self._relays:
            self._registry.counters.untrusted += 1
        elif packet == tunnel.HELLO:
            self._tell_clients(source)
        else:
            self._registry.receive(packet, source, self._loop.time())

    def _tell_clients(self, relay: tuple[str, int]) -> None:
        """Bare headers of all our clients: the relay learns its flows from them."""
        for header in self._registry.clients():
            self._port.send(header, relay)

    async def _relay_announced(self, message: Msg) -> None:
        self._take_relay(message.data)

    def _take_relay(self, data: bytes) -> None:
        try:
            relay = messages.decode(data, messages.RelayAnnouncement)
        except MalformedError as error:
            log.warning("%s", error)
            return
        for address in self._relays.announce(relay, self._loop.time()):
            # Its hello may have come before we trusted it: tell it unasked.
            self._tell_clients(address)
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
            await message.respond(messages.encode(self._as_owner()))

    def _as_owner(self) -> messages.FlowOwner:
        return messages.FlowOwner(cluster=self._settings.cluster, slot=self._slot.number, epoch=self._slot.epoch)

    # ---- the clock -----------------------------------------------------------------------------------

    def _join(self, visit: Any, now: float, tolerance: float) -> None:
        self._wheel.add(visit, now, tolerance)
        self._arm_wheel()

    def _arm_wheel(self) -> None:
        due = self._wheel.due()
        if self._wheel_timer is not None:
            self._wheel_timer.cancel()
        self._wheel_timer = None if due is None else self._loop.call_at(due, self._turn_wheel)

    def _turn_wheel(self) -> None:
        self._publisher.hold()
        try:
            self._wheel.run(self._loop.time(), self._loop.time)
        finally:
            self._publisher.release()
        self._arm_wheel()

    def _take_turn(self, step: Callable[[float], None], now: float) -> None:
        self._handshakes.add(step, now)
        self._arm_handshakes()

    def _arm_handshakes(self) -> None:
        due = self._handshakes.due()
        if due is not None and self._handshake_timer is None:
            self._handshake_timer = self._loop.call_at(due, self._step_handshakes)

    def _step_handshakes(self) -> None:
        self._handshake_timer = None
        self._handshakes.run(self._loop.time())
        self._arm_handshakes()

    def _current_certificate(self, now: float) -> Certificate:
        if now - self._certified_at > CERTIFICATE_LIFETIME:
            self._certificate, self._certified_at = Certificate(), now
        return self._certificate

    # ---- opening a session -----------------------------------------------------------------------------

    async def _open_requested(self, request: Any) -> None:
        # One task each: an agent that answers slowly must not hold up the offers for other agents. A task
        # takes its slot, or refuses, before it waits for anything, so capacity bounds those that wait.
        task = asyncio.create_task(self._serve_open(request))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _serve_open(self, request: Any) -> None:
        context = bus.trace_context(request.headers)
        with tracer.start_as_current_span("open", context=context) as span:
            started = self._loop.time()
            try:
                reply: messages.Opened | messages.Refused = await self._open(request.data, started)
            except MalformedError as error:
                reply = messages.Refused(code="bad_offer", message=str(error))
            except Exception:
                log.exception("an offer could not be answered")
                reply = messages.Refused(code="internal", message="the transceiver failed to answer: see its log")
            span.set_attribute("antiphon.open", reply.type if isinstance(reply, messages.Opened) else reply.code)
            if isinstance(reply, messages.Opened):
                span.set_attribute("antiphon.session", reply.session_id)
            try:
                await request.respond(messages.encode(reply))
            except (nats.errors.Error, OSError) as error:
                # Nobody will ever call: the session ends by its setup timeout, or by a retry's hang-up.
                log.warning("an offer's answer could not be sent: %r", error)

    def _refusal(self) -> messages.Refused | None:
        """Why no further session is taken, if so."""
        if self._draining:
            return messages.Refused(code="draining", message="this transceiver is shutting down: ask another one")
        capacity = self._settings.capacity
        if len(self._registry) + self._opening >= capacity:
            return messages.Refused(code="full", message=f"all {capacity} sessions of this transceiver are taken")
        # A tenth of the last 5 s: one stop (some clients joining at once) is no reason to send callers away.
        late = self._wheel.lateness(self._loop.time(), 0.9)[0] * 1000
        if late > self._settings.max_lateness_ms:
            return messages.Refused(code="full", message=f"this transceiver is {late:.0f} ms late: it takes no more")
        return None

    async def _open(self, data: bytes, now: float) -> messages.Opened | messages.Refused:
        request = messages.decode(data, messages.OpenRequest)
        refusal = self._refusal() if request.session_id is None else None
        if refusal is not None:
            return refusal
        try:
            offer = sdp.read_offer(request.offer)
        except sdp.OfferError as error:
            return messages.Refused(code=error.code, message=str(error))
        if request.session_id is not None:
            return self._restart_ice(request.session_id, offer)
        self._opening += 1  # from here to the end of this coroutine the slot is ours
        try:
            return await self._answer(request, offer, now)
        finally:
            self._opening -= 1

    async def _answer(
        self, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        session_id = "rtc_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(24))
        try:
            await self._listen(session_id)
            claimed = await self._claim(session_id, request)
            if isinstance(claimed, messages.Refused):
                return claimed
            if self._draining:
                ended = messages.Ended(reason="draining")
                self._publisher.publish(subjects.session_event(session_id), messages.encode(ended))
                return messages.Refused(code="draining", message="this transceiver is shutting down: ask another one")
            return self._make_session(session_id, request, offer, claimed, now)
        finally:
            if self._registry.get(session_id) is None:
                self._stop_listening(session_id)

    async def _claim(self, session_id: str, request: messages.OpenRequest) -> messages.ClaimReply | messages.Refused:
        """Ask for an agent; it is ready before media flows."""
        claim = messages.Claim(session_id=session_id, agent=request.agent, session=request.session)
        try:
            answer = await self._client.request(
                subjects.agent_claim(request.agent),
                messages.encode(claim),
                timeout=CLAIM_TIMEOUT,
                headers=bus.trace_headers() or None,
            )
            claimed = messages.decode(answer.data, messages.ClaimReply)
        except MalformedError as error:
            return messages.Refused(code="no_agent", message=f"agent {request.agent!r} answers unreadably: {error}")
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return messages.Refused(
                code="no_agent", message=f"no agent named {request.agent!r} answers: start it, or name another"
            )
        if not claimed.accepted:
            return messages.Refused(
                code="no_agent", message=f"agent {request.agent!r} declined: {claimed.message or 'no reason given'}"
            )
        return claimed

    def _make_session(
        self,
        session_id: str,
        request: messages.OpenRequest,
        offer: sdp.Offer,
        claimed: messages.ClaimReply,
        now: float,
    ) -> messages.Opened:
        ufrag, _ = self._keyring.mint(self._settings.cluster, self._slot.number, self._slot.epoch, time.time())
        state = SessionState(
            session_id=session_id,
            agent=request.agent,
            ufrags=[ufrag],
            remote_fingerprints=list(offer.fingerprints),
            input_rate=claimed.input_rate,
            rtp=RtpState(
                ssrc=secrets.randbits(31) + 1,
                payload_type=offer.opus_payload_type,
                # Small enough that no receiver sees a wrap in its first packets (RFC 3711 section 3.3.1).
                sequence=secrets.randbits(15),
                timestamp=secrets.randbits(32),
            ),
            session_settings=request.session,
            data_port=offer.data_port,
            data_max_message=offer.data_max_message,
            telephone=offer.telephone,
            audio_level_id=offer.audio_level_id,
            sdp_origin=secrets.randbits(40),
        )
        certificate = self._current_certificate(now)
        outlet = SessionOutlet(session_id, self._port, self._publisher, trace.get_current_span(), now)
        session = Session(
            state,
            certificate,
            self._password_key,
            offer.client,
            outlet,
            now,
            self._join,
            self._wheel.remove,
            self._take_turn,
            self._settings.consent_seconds,
        )
        self._registry.add(session)
        for message in self._early.pop(session_id, []):
            self._spoken(session, message)
        return messages.Opened(session_id=session_id, answer=self._written_answer(session, offer))

    def _written_answer(self, session: Session, offer: sdp.Offer) -> str:
        state = session.state
        ours = sdp.Answer(
            ufrag=state.ufrags[0],
            password=ice_password(self._password_key, state.ufrags[0]),
            fingerprint=session.certificate.fingerprint,
            ssrc=state.rtp.ssrc,
            origin=state.sdp_origin,
            version=state.sdp_version,
        )
        return sdp.write_answer(offer._replace(client=session.dtls_client), ours)

    def _restart_ice(self, session_id: str, offer: sdp.Offer) -> messages.Opened | messages.Refused:
        """A new offer on a running session: new ICE credentials, everything else as it was."""
        session = self._registry.get(session_id)
        if session is None or session.ended is not None:
            return messages.Refused(code="no_session", message=f"session {session_id} is over: place a new call")
        state = session.state
        if sorted(offer.fingerprints) != sorted(state.remote_fingerprints):
            return messages.Refused(
                code="bad_offer", message="the offer has another a=fingerprint than the session: place a new call"
            )
        if offer.opus_payload_type != state.rtp.payload_type:
            return messages.Refused(
                code="bad_offer",
                message=f"the offer has Opus as {offer.opus_payload_type}, the session as {state.rtp.payload_type}",
            )
        ufrag, _ = self._keyring.mint(self._settings.cluster, self._slot.number, self._slot.epoch, time.time())
        self._registry.restart_ice(session, ufrag)
        return messages.Opened(session_id=session_id, answer=self._written_answer(session, offer))

    # ---- a session's subjects ----------------------------------------------------------------------------

    async def _listen(self, session_id: str) -> None:
        """Subscribe before the agent is asked: what it says at once must find us listening."""

        def spoken(message: nats_direct.Heard) -> None:
            session = self._registry.get(session_id)
            if session is not None:
                self._spoken(session, message)
            elif len(early := self._early.get(session_id, [])) < MAX_EARLY:
                early.append(message)

        async def controlled(message: Msg) -> None:
            reply = self._controlled(session_id, message)
            if message.reply:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await message.respond(messages.encode(reply))

        self._early[session_id] = []
        subscribed = self._subscriptions[session_id] = []
        subscribed.append(await nats_direct.subscribe(self._client, subjects.session_out(session_id), spoken))
        subscribed.append(await self._client.subscribe(subjects.session_control(session_id), cb=controlled))

    def _spoken(self, session: Session, message: nats_direct.Heard) -> None:
        try:
            if message.subject.endswith(".audio.out"):
                session.speak(audio.unpack_frame(message.data), self._loop.time())
            else:
                data = messages.decode(message.data, messages.DataMessage)
                session.send_message(data.channel, data.payload())
        except MalformedError as error:
            self._publisher.publish(
                subjects.session_event(session.state.session_id),
                messages.encode(messages.SessionError(message=str(error))),
            )
        if session.ended is not None:
            self._forget(session)

    def _controlled(self, session_id: str, message: Msg) -> messages.ControlReply:
        try:
            control = messages.decode_any(message.data, messages.CONTROL, "Control")
        except MalformedError as error:
            return messages.ControlReply(ok=False, message=str(error))
        session = self._registry.get(session_id)
        if session is None or session.ended is not None:
            return messages.ControlReply(ok=False, message=f"session {session_id} is over")
        session.control(control, self._loop.time())
        if session.ended is not None:
            self._forget(session)
        return messages.ControlReply(ok=True)

    def _forget(self, session: Session) -> None:
        self._registry.remove(session)
        self._stop_listening(session.state.session_id)

    def _stop_listening(self, session_id: str) -> None:
        self._early.pop(session_id, None)
        for subscription in self._subscriptions.pop(session_id, []):
            self._tasks.append(asyncio.create_task(_unsubscribe(self._client, subscription)))
        self._tasks = [task for task in self._tasks if not task.done()]


async def _unsubscribe(client: Client, subscription: Any) -> None:
    with contextlib.suppress(Exception):
        await nats_direct.unsubscribe(client, subscription)
