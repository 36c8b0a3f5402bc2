"""The digest of `getStats` that a client sends as `antiphon.client_stats`: taken off its events. Sans-IO.

It is for the owner of the call alone: no agent gets it, and nothing is answered. A digest that is too long, too soon or
no digest is dropped and counted. So it costs an agent nothing, whatever a client sends.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from pydantic import ValidationError

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages

TYPE: Final = "antiphon.client_stats"
RATE: Final = (1, 5)
"""Digests per second, and at once: one comes every 5 s."""
MAX_DIGEST: Final = 4096
"""Characters; one with all fields has 400."""
_SIGN: Final = "client_stats"
_ESCAPE: Final = "\\u"
"""With it the type could be spelled another way."""


class Counts(Protocol):
    """What `Metrics` has of what is counted here."""

    def add(self, name: str, by: float = 1, /, **labels: str) -> None: ...
    def observe(self, name: str, value: float, /, **labels: str) -> None: ...


class ClientReports:
    """The digests of one call's client. Owner: the call, which calls it on the event loop only."""

    def __init__(self) -> None:
        self.last: messages.ClientStatistics | None = None
        self.dropped = 0
        """Digests that were not used."""
        self._bucket = TokenBucket(*RATE)

    def take(self, payload: str | bytes, now: float) -> bool | messages.ClientStatistics:
        """False: the message is for the agent. True: it is a digest of no use. Else the digest."""
        event = digest_in(payload)
        return False if event is None else self.take_event(event, len(payload), now)

    def take_event(self, event: dict[str, Any], size: int, now: float) -> bool | messages.ClientStatistics:
        """`take` for an event that is read already and has the type `TYPE`."""
        if size <= MAX_DIGEST and self._bucket.take(1, now):
            fields = {name: value for name, value in event.items() if name != "type" and value is not None}
            try:
                digest = messages.ClientStatistics.model_validate(fields, strict=True)
            except (ValidationError, RecursionError):
                pass
            else:
                if digest.client.isprintable():  # it is shown in terminals
                    self.last = digest
                    return digest
        self.dropped += 1
        return True


def digest_in(payload: str | bytes) -> dict[str, Any] | None:
    """The event, if a message of the events channel is a digest, well-formed or not. Most cost a search for a word."""
    if isinstance(payload, bytes):
        if _SIGN.encode() not in payload and _ESCAPE.encode() not in payload:
            return None
    elif _SIGN not in payload and _ESCAPE not in payload:
        return None
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and event.get("type") == TYPE else None


def count(metrics: Counts, digest: messages.ClientStatistics, before: messages.ClientStatistics | None) -> None:
    """Count a digest. Its counters are of the whole call: `before` is the digest before, whose part is counted."""
    metrics.add("antiphon_client_reports_total", protocol=digest.protocol or "unknown")
    for name, value in (
        ("antiphon_client_round_trip_seconds", digest.round_trip_ms),
        ("antiphon_client_jitter_seconds", digest.jitter_ms),
        ("antiphon_client_jitter_buffer_seconds", digest.jitter_buffer_ms),
    ):
        if value is not None:
            metrics.observe(name, value / 1000)
    if before is None:
        return  # the first since this process has the call: what is older, another one has counted
    for name, new, old, most in (
        ("antiphon_client_packets_received_total", digest.packets_received, before.packets_received, _MOST_PACKETS),
        ("antiphon_client_packets_lost_total", digest.packets_lost, before.packets_lost, _MOST_PACKETS),
        ("antiphon_client_samples_received_total", digest.samples_received, before.samples_received, _MOST_SAMPLES),
        ("antiphon_client_samples_concealed_total", digest.samples_concealed, before.samples_concealed, _MOST_SAMPLES),
    ):
        # A client that lies must not move the sum of all of them by more than it can have got in some seconds.
        if new is not None and old is not None and 0 < new - old <= most:
            metrics.add(name, new - old)


_MOST_PACKETS: Final = 10_000
"""Of one digest: more than 20 s of audio have."""
_MOST_SAMPLES: Final = 10_000_000
"""Likewise."""


def attributes(digest: messages.ClientStatistics) -> dict[str, str | int | float]:
    """The digest as attributes of the call's span."""
    fields = digest.model_dump(exclude_none=True)
    return {f"antiphon.client.{name}": value for name, value in fields.items() if value != ""}
