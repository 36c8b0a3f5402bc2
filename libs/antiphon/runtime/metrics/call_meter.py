"""What the events of one call say to the metrics; made by the call's owner, a transceiver or signaling."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Literal

from antiphon.runtime.metrics.metrics import OFF, Metrics
from antiphon.schemas import messages

KEY_CHARACTERS: Final = 8
"""Of the hash of an API key: enough to tell a hundred keys apart, and no way to the key."""


def usage_key(creator: str) -> str:
    """The label `key` for the calls of this `OpenRequest.creator`, those of a key's secrets together."""
    return creator.partition(".")[0][:KEY_CHARACTERS] or "none"


class CallMeter:
    """Counts one call. Owner: the call's output; event loop only.

    It is given each event of the call, of which it counts a few: some 0.1 us for all others.
    """

    def __init__(
        self,
        metrics: Metrics,
        transport: Literal["webrtc", "websocket"],
        creator: str = "",
        trace: str = "",
        began: float = 0.0,
    ) -> None:
        """`trace`: the call's `traceparent`, for exemplars. `began`: Unix time of the offer; 0: now."""
        self._metrics, self._transport, self._creator, self._trace = metrics, transport, creator, trace
        self._began = began or time.time()
        self._last: messages.Statistics | None = None
        self._overflowed = 0
        self._paused_at: float | None = None
        """Since when the agent has held its speech because the caller made a sound."""
        self._on: dict[type[messages.Message], Callable[[Any], None]] = {}
        if metrics.on:
            self._on = {
                messages.Playout: self._playout,
                messages.Statistics: self._statistics,
                messages.Flushed: self._flushed,
                messages.PlayoutOverflow: self._overflow,
                messages.Transferred: lambda _: self._count("antiphon_call_transfers_total", result="done"),
                messages.TransferFailed: lambda _: self._count("antiphon_call_transfers_total", result="failed"),
                messages.Ended: self._ended,
            }

    def started(self) -> None:
        """The call begins with this process; not called for one that was taken over."""
        self._count("antiphon_call_started_total", transport=self._transport)

    def event(self, event: messages.Message) -> None:
        """An event of the call, as it is published."""
        handler = self._on.get(type(event))
        if handler is not None:
            handler(event)

    def step(self, step: str, seconds: float) -> None:
        """A step of the set-up is done: one of `table.SETUP_STEPS`."""
        self._metrics.observe("antiphon_call_setup_seconds", seconds, trace=self._trace, step=step)

    def turn(self, turn: messages.Turn, played: bool = True) -> None:
        """A turn's first sample was `played`, so that its parts are known, or it has ended, or both."""
        trace = turn.trace or self._trace
        parts = turn.parts.model_dump(exclude_none=True) if played else {}
        for part, milliseconds in parts.items():
            self._metrics.observe("antiphon_turn_part_seconds", milliseconds / 1000, trace=trace, part=part)
        if parts:
            self._metrics.observe("antiphon_turn_latency_seconds", sum(parts.values()) / 1000, trace=trace)
        if turn.end is not None:
            self._metrics.add("antiphon_turn_ended_total", trace=trace, end=turn.end)

    def _statistics(self, now: messages.Statistics) -> None:
        last, self._last = self._last, now
        if self._transport == "websocket":
            return  # TCP loses nothing
        observe = self._metrics.observe
        observe("antiphon_media_jitter_seconds", now.jitter_ms / 1000, trace=self._trace)
        if now.round_trip_ms is not None:
            observe("antiphon_media_round_trip_seconds", now.round_trip_ms / 1000, trace=self._trace)
        if last is None:
            return
        lost, received = now.packets_lost - last.packets_lost, now.packets_received - last.packets_received
        if lost + received > 0:
            share = max(0, lost) / (max(0, lost) + received)
            observe("antiphon_media_loss_ratio", share, trace=self._trace, direction="from_client")
        sent = now.packets_sent - last.packets_sent
        if now.remote_packets_lost is not None and sent > 0:
            share = max(0, now.remote_packets_lost - (last.remote_packets_lost or 0)) / sent
            observe("antiphon_media_loss_ratio", min(1.0, share), trace=self._trace, direction="to_client")

    def _playout(self, playout: messages.Playout) -> None:
        if playout.state != "paused":
            self._paused_at = None
        elif self._paused_at is None:
            self._paused_at = time.perf_counter()

    def _flushed(self, flushed: messages.Flushed) -> None:
        if flushed.dropped_ms or flushed.played_samples:
            self._count("antiphon_turn_interruptions_total")
        if self._paused_at is not None:
            seconds, self._paused_at = time.perf_counter() - self._paused_at, None
            self._metrics.observe("antiphon_turn_interruption_seconds", seconds, trace=self._trace, step="decision")

    def _overflow(self, overflow: messages.PlayoutOverflow) -> None:
        self._metrics.add("antiphon_media_frames_dropped_total", max(0, overflow.dropped_frames - self._overflowed))
        self._overflowed = overflow.dropped_frames

    def _ended(self, ended: messages.Ended) -> None:
        seconds = max(0.0, time.time() - self._began)
        labels = {"transport": self._transport}
        self._metrics.add("antiphon_call_ended_total", trace=self._trace, reason=ended.reason, **labels)
        self._metrics.observe("antiphon_call_duration_seconds", seconds, trace=self._trace, **labels)
        self._metrics.add("antiphon_usage_seconds_total", seconds, key=usage_key(self._creator))

    def _count(self, name: str, **labels: str) -> None:
        self._metrics.add(name, trace=self._trace, **labels)


NOT_MEASURED: Final = CallMeter(OFF, "webrtc")
"""Counts nothing."""
