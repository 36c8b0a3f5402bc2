"""The limits of the service: composes the tables of the process and the store, and raises `ApiError` 429.

Each request is counted in memory. What costs the stack something, a call or a secret, is counted in NATS as well, and
so across all instances; while NATS is away only the process counts. A failed authentication is told to the others.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

from antiphon.runtime.api_keys import ApiKey
from antiphon.signaling.http.errors import too_many
from antiphon.signaling.limits.client_address import bucket_of, hidden
from antiphon.signaling.limits.failures import Failures
from antiphon.signaling.limits.rate import RateTable
from antiphon.signaling.limits.store import LimitStore
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.settings import Settings

_KEY_LIMITS: Final = {"calls": "calls_per_minute", "secrets": "secrets_per_minute", "requests": "requests_per_minute"}
_WHAT: Final = {"calls": "calls were placed", "secrets": "client secrets were made", "requests": "requests were sent"}


class ClientAddress(NamedTuple):
    """A client's address, as limits count it. A value, made for one request."""

    name: str
    """Its name in tables and on NATS, which does not show the address."""


class Limits:
    """Made by `create_app` and kept as long as the application; handlers call it on the event loop."""

    def __init__(self, settings: Settings, backend: Backend, pepper: bytes, *, on: bool = True) -> None:
        """`pepper` hides addresses on NATS: the same at all instances. `on`: settings that are not set count too."""
        given = settings.model_fields_set

        def limit(name: str) -> int:
            field = f"limit_{name}"
            value: int = getattr(settings, field)
            return value if on or field in given else 0

        self._per_key = {kind: limit(f"{kind}_per_key") for kind in _KEY_LIMITS}
        self._per_address = {kind: limit(f"{kind}_per_address") for kind in _KEY_LIMITS}
        self._pepper = pepper
        self._rates = RateTable()
        self._failures = Failures(limit("failures_per_address"))
        self.store = LimitStore(backend, self._failed_elsewhere)

    def address(self, host: str | None) -> ClientAddress:
        """What a client's address is counted as; None: the connection has none."""
        return ClientAddress(hidden(self._pepper, bucket_of(host or "")))

    # ---- failed authentications

    def blocked(self, address: ClientAddress) -> float:
        """Seconds until credentials of this address that may be guesses are looked at again."""
        return self._failures.blocked(address.name, time.monotonic())

    def failed(self, address: ClientAddress) -> None:
        """A credential of this address was none of ours."""
        noted = self._failures.note(address.name, time.monotonic())
        if noted is not None:
            self.store.tell_failure(address.name, noted.times)

    def _failed_elsewhere(self, address: str, count: int) -> None:
        self._failures.learn(address, count, time.monotonic())

    # ---- rates

    def admit_request(self, address: ClientAddress) -> None:
        """Any request, before it is authenticated."""
        wait = self._rates.take("requests", address.name, self._per_address["requests"], time.monotonic())
        if wait:
            raise too_many(self._text("requests", self._per_address["requests"], "from this address"), wait)

    def admit_key(self, key: ApiKey) -> None:
        """Any request with this key, or with a secret that it made."""
        per_minute = self._of_key("requests", key)
        if wait := self._rates.take("requests of key", key.id, per_minute, time.monotonic()):
            raise too_many(self._text("requests", per_minute, "with this API key"), wait)

    async def admit(self, kind: str, address: ClientAddress, key: ApiKey | None) -> None:
        """A call or a secret (`kind`: `calls`, `secrets`), for its address and its key; `ApiError` 429."""
        counted = [("address", address.name, self._per_address[kind], "from this address")]
        if key is not None:
            counted.append(("key", key.creator, self._of_key(kind, key), "with this API key"))
        shared = []
        for of, subject, per_minute, whose in counted:
            if wait := self._rates.take(f"{kind} of {of}", subject, per_minute, time.monotonic()):
                raise too_many(self._text(kind, per_minute, whose), wait)
            if per_minute > 0:
                shared.append((self.store.take(f"{kind}-{of}", subject, per_minute), per_minute, whose))
        waits = await asyncio.gather(*(take for take, _, _ in shared))
        for wait, (_, per_minute, whose) in zip(waits, shared, strict=True):
            if wait:
                raise too_many(self._text(kind, per_minute, whose), wait)

    def _of_key(self, kind: str, key: ApiKey) -> int:
        own: int | None = getattr(key.limits, _KEY_LIMITS[kind])
        return self._per_key[kind] if own is None else own

    @staticmethod
    def _text(kind: str, per_minute: int, whose: str) -> str:
        return f"{per_minute} {_WHAT[kind]} {whose} within a minute, which is the limit"
