"""One register of the copy leases: a bucket with one replica on one server of the hub, and the way to it.

Any server of the hub passes requests on to that of the register. A process has two connections to the hub, with
different servers: what is not answered by one is asked by the other, well within a lease.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from nats.aio.client import Client
from nats.errors import ConnectionClosedError
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import LeaseRegister
from antiphon.schemas.slot_moves import Identity
from antiphon.transceiver.copies.quorum_lease import Known, Request

ANSWER_WITHIN: Final = 0.7
"""Seconds for the answer of a register."""
SILENT_SECONDS: Final = 0.4
"""Seconds without any answer by one connection, after which its requests are taken back for the other one. Longer than
a round trip around the world."""
SHUNNED_SECONDS: Final = 1.5
"""By then the client itself has given such a connection up, and made another (`HUB_PATIENCE`)."""
_WRONG_LAST_SEQUENCE: Final = 10071

T = TypeVar("T")


class Hub(Protocol):
    """A connection to the hub, which comes and goes."""

    @property
    def client(self) -> Client | None:
        """None: the hub can't be reached now."""


class _Line:
    """One connection."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.answered_at = 0.0
        self.shunned_until = 0.0
        self._context: tuple[Client, JetStreamContext] | None = None

    def context(self, client: Client) -> JetStreamContext:
        if self._context is None or self._context[0] is not client:
            self._context = client, client.jetstream(timeout=ANSWER_WITHIN)
        return self._context[1]


class HubLines:
    """The connections of this process to the hub.

    Owner: `LeaseBucket`. Event loop only.
    """

    def __init__(self, hubs: Sequence[Hub]) -> None:
        self._lines = [_Line(hub) for hub in hubs]

    def client(self) -> Client | None:
        """One that is connected, and answers as far as we know."""
        line = self._choose()
        return line.hub.client if line is not None else None

    def _choose(self) -> _Line | None:
        now = asyncio.get_running_loop().time()
        connected = [line for line in self._lines if line.hub.client is not None]
        return next((line for line in connected if now >= line.shunned_until), next(iter(connected), None))

    async def ask(self, work: Callable[[JetStreamContext], Awaitable[T]]) -> T:
        """Do it by a connection that answers. `TimeoutError`: no answer, and it may be done later."""
        line = self._choose()
        client = line.hub.client if line is not None else None
        if line is None or client is None:
            raise ConnectionClosedError
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        task = asyncio.ensure_future(work(line.context(client)))
        try:
            await asyncio.wait({task}, timeout=SILENT_SECONDS)
            if not task.done() and (line.answered_at < asked_at or line.hub.client is None):
                line.shunned_until = loop.time() + SHUNNED_SECONDS
                raise TimeoutError
            await asyncio.wait({task}, timeout=ANSWER_WITHIN - SILENT_SECONDS)
            if not task.done():
                raise TimeoutError
        finally:
            task.cancel()
        error = task.exception()
        if error is None or isinstance(error, APIError):
            line.answered_at = loop.time()
        return task.result()


class Register:
    """One register of all leases. Every method raises one of `BUS_ERRORS` without an answer.

    Owner: `LeaseBucket`. Event loop only; several calls may be on their way at a time.
    """

    def __init__(self, number: int, count: int, lines: HubLines) -> None:
        """`number`: from 1 to `count`."""
        self.name = subjects.copy_lease_bucket(number)
        self._count = count
        self._lines = lines
        self._token = ""

    def client(self) -> Client | None:
        """For a watch."""
        return self._lines.client()

    async def answers(self) -> None:
        """Return when the register has answered."""
        await self._find_token()

    async def read(self, identity: Identity) -> Known:
        """What it holds of this lease."""
        for _ in range(3):
            token = self._token or await self._find_token()
            found = await self._get(f"{subjects.copy_lease_key(*identity)}.{token}")
            if found is None:
                if await self._find_token() != token:
                    continue  # the bucket was made anew meanwhile
                return Known(token, 0, None)
            data, revision = found
            try:
                entry = messages.decode(data, LeaseRegister)
            except MalformedError as error:  # only transceivers may write here
                raise TimeoutError(f"{self.name}, lease of {identity}: {error}") from None
            if entry.registers != self._count:
                raise TimeoutError(
                    f"{self.name}: another process has {entry.registers} registers and we have {self._count}: "
                    f"ANTIPHON_HUB_REPLICAS has to be the same everywhere"
                )
            return Known(token, revision, entry)
        raise TimeoutError(f"{self.name} is made anew again and again")

    async def write(self, identity: Identity, request: Request) -> int | None:
        """The new revision; None: another one is there than the request says."""
        assert request.entry is not None
        key, data = f"{subjects.copy_lease_key(*identity)}.{request.token}", messages.encode(request.entry)
        try:
            revision = await self._lines.ask(lambda js: self._bucket(js).update(key, data, last=request.revision))
        except KeyWrongLastSequenceError:
            return None
        if not request.revision and await self._find_token() != request.token:
            return None  # it was written where no process looks any more
        return revision

    async def _find_token(self) -> str:
        """The token of the bucket as it is now; made by the first process that finds none, and never again."""
        while True:
            found = await self._get(subjects.COPY_LEASE_TOKEN)
            if found is not None:
                self._token = found[0].decode("ascii", "replace")
                return self._token
            await self._make_token(secrets.token_hex(8).encode())

    async def _make_token(self, token: bytes) -> None:
        subject = f"$KV.{self.name}.{subjects.COPY_LEASE_TOKEN}"
        headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Nats-TTL": "never"}
        try:
            await self._lines.ask(lambda js: js.publish(subject, token, headers=headers))
        except APIError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:  # another process was first
                raise

    async def _get(self, key: str) -> tuple[bytes, int] | None:
        stream, subject = f"KV_{self.name}", f"$KV.{self.name}.{key}"
        try:
            found = await self._lines.ask(lambda js: js.get_msg(stream, subject=subject, direct=True))
        except NotFoundError:
            return None
        return found.data or b"", found.seq or 0

    def _bucket(self, js: JetStreamContext) -> KeyValue:
        return KeyValue(name=self.name, stream=f"KV_{self.name}", pre=f"$KV.{self.name}.", js=js, direct=True)
