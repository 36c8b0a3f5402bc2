"""Asks the owners of calls and the services register over NATS, with the operator's credential."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.cli.top.model import Snapshot
from antiphon.cli.top.source import MAX_CALLS, DeniedError, SourceError
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.runtime.nats.server_url import without_password
from antiphon.runtime.nats.service_discovery import Instance
from antiphon.runtime.operators.call_gathering import ExpectedOwner
from antiphon.runtime.operators.gather import gather_calls
from antiphon.runtime.operators.processes import drain, processes_of, register_entries
from antiphon.schemas import MalformedError, messages, subjects

ANNOUNCED_FOR: Final = 3.5
"""Seconds that an announcement counts; they come each second."""
MAX_ANNOUNCERS: Final = 4096
"""Of each kind; further ones are not taken."""
HANG_UP_WAIT: Final = 2.0
FIRST_WAIT: Final = 1.2
"""Seconds in which the first listing waits for the announcements of processes that are in the register."""


class NatsSource:
    """Owner: the command, inside the block of `on_the_bus`. Used on the loop of the client."""

    def __init__(self, client: Client, url: str) -> None:
        self._client, self._url = client, without_password(url)
        self._transceivers: dict[tuple[int, int], tuple[float, messages.TransceiverAnnouncement]] = {}
        self._relays: dict[str, tuple[float, messages.RelayAnnouncement]] = {}
        self._announced = asyncio.Event()
        self._waited = False

    @property
    def name(self) -> str:
        """For people."""
        return f"NATS at {self._url}"

    async def start(self) -> None:
        """Listen to announcements; `RefusedError` if this credential may not."""
        await self._client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._on_transceiver)
        await self._client.subscribe(subjects.ANY_RELAY_ANNOUNCE, cb=self._on_relay)
        await connection.require_allowed(self._client)

    async def _on_transceiver(self, message: Msg) -> None:
        try:
            said = messages.decode(message.data, messages.TransceiverAnnouncement)
        except MalformedError:
            return
        key = (said.cluster, said.slot)
        if key in self._transceivers or len(self._transceivers) < MAX_ANNOUNCERS:
            self._transceivers[key] = (time.monotonic(), said)
            self._announced.set()

    async def _on_relay(self, message: Msg) -> None:
        try:
            said = messages.decode(message.data, messages.RelayAnnouncement)
        except MalformedError:
            return
        if said.name in self._relays or len(self._relays) < MAX_ANNOUNCERS:
            self._relays[said.name] = (time.monotonic(), said)
            self._announced.set()

    def _forget(self) -> None:
        oldest = time.monotonic() - ANNOUNCED_FOR
        self._transceivers = {key: each for key, each in self._transceivers.items() if each[0] > oldest}
        self._relays = {key: each for key, each in self._relays.items() if each[0] > oldest}

    async def snapshot(self) -> Snapshot:
        """What runs now, in this region."""
        self._forget()
        with self._errors("calls can't be listed"):
            entries = await register_entries(self._client)
            expected = owners_in(entries)
            calls: dict[str, messages.CallSummary] = {}
            total, incomplete, after = 0, dict[str, None](), ""
            while len(calls) < MAX_CALLS:
                page = await gather_calls(self._client, messages.ListCalls(after=after), expected)
                if not calls:
                    total = page.total
                calls.update((call.session_id, call) for call in page.calls)
                incomplete.update(dict.fromkeys(page.incomplete))
                if not page.more or not page.calls:
                    break
                after = page.calls[-1].session_id
            refused = connection.refusal(self._client, subjects.CALLS_LIST)
        if refused is not None:
            raise DeniedError(f"{refused}: `antiphon top` wants the credential of the role operator")
        if not self._waited:
            self._waited = True
            await self._announcements(entries)
        processes = processes_of(
            entries, (said for _, said in self._transceivers.values()), (said for _, said in self._relays.values())
        )
        return Snapshot(list(calls.values()), processes, max(total, len(calls)), list(incomplete), time.time())

    async def _announcements(self, entries: list[Instance]) -> None:
        services = [each.service for each in entries]
        wanted = services.count("antiphon-transceiver"), services.count("antiphon-relay")
        try:
            async with asyncio.timeout(FIRST_WAIT):
                while len(self._transceivers) < wanted[0] or len(self._relays) < wanted[1]:
                    self._announced.clear()
                    await self._announced.wait()
        except TimeoutError:
            pass  # their rows say that state and load are not known

    async def hang_up(self, session_id: str) -> str:
        """Ask the owner of the call to end it."""
        try:
            subject = subjects.call_hang_up(session_id)
            asked = messages.encode(messages.HangUp(reason="operator", creator=messages.ANY_CREATOR))
            with self._errors(f"call {session_id} can't be ended"):
                answer = await self._client.request(subject, asked, timeout=HANG_UP_WAIT)
                reply = messages.decode(answer.data, messages.ControlReply)
        except nats.errors.NoRespondersError:
            raise SourceError(f"there is no call {session_id}: it has ended") from None
        if not reply.ok:
            raise SourceError(f"call {session_id} is not ended: {reply.message[:200]}")
        return f"call {session_id} has been hung up"

    async def drain(self, service: str, instance: str) -> str:
        """Ask the process to drain."""
        try:
            with self._errors(f"{service} {instance} can't be drained"):
                reply = await drain(self._client, service, instance)
        except nats.errors.NoRespondersError:
            raise SourceError(f"there is no process {service} {instance}: it has ended") from None
        if not reply.ok:
            raise SourceError(f"{service} {instance} does not drain: {reply.message[:200]}")
        return f"{service} {instance} drains: {reply.message[:200]}"

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        if not self._client.is_connected:
            raise SourceError(f"{self.name} is away: {what}")
        try:
            yield
        except nats.errors.NoRespondersError:
            raise
        except TimeoutError:
            raise SourceError(f"{what}: no answer in time") from None
        except (*BUS_ERRORS, MalformedError) as error:
            raise SourceError(f"{what}: {str(error) or type(error).__name__}") from None


def owners_in(entries: list[Instance]) -> list[ExpectedOwner]:
    """The processes in the register that own calls: transceivers, and signaling that takes calls over WebSocket."""
    found = []
    for each in entries:
        said = each.metadata
        if each.service == "antiphon-transceiver":
            name = f"transceiver {said.get('cluster', '0')}.{said.get('slot', '')}"
        elif each.service == "antiphon-signaling" and said.get("calls") == "websocket":
            name = f"signaling {each.id}"
        else:
            continue
        found.append(ExpectedOwner(name, ids=frozenset((each.id,))))
    return found
