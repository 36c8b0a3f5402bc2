"""Two ends of data channels and the path between them, without a loop: time is a number that `run` moves."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from typing import Any

from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.data_channels import DataChannels

STEP = 0.05
"""Seconds between two polls: as a session is polled."""


class SctpNetwork:
    """`ends[0]` is the DTLS client; both have started."""

    def __init__(
        self,
        seed: int = 1,
        loss: float = 0.0,
        jitter: float = 0.0,
        duplicate: float = 0.0,
        delay: float = 0.02,
        max_message: int = 1 << 18,
    ) -> None:
        self.loss, self.jitter, self.duplicate, self.delay = loss, jitter, duplicate, delay
        self.max_message = max_message
        self.now = 1000.0
        self.received: tuple[list[tuple[str, str | bytes]], list[tuple[str, str | bytes]]] = ([], [])
        self.log: tuple[list[str], list[str]] = ([], [])
        """What was said of channels and associations, in order."""
        self.sent: tuple[list[bytes], list[bytes]] = ([], [])
        self.drop: Callable[[int, bytes], bool] = lambda side, packet: False
        self._dice = random.Random(seed)
        self._wire: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        # Numbers that wrap soon.
        self.ends = [self.end(side, Association(7 + side, (1 << 32) - 20)) for side in (0, 1)]
        for each in self.ends:
            each.start(5000, max_message, self.now)

    def end(self, side: int, association: Association | None = None) -> DataChannels:
        log = self.log[side].append
        return DataChannels(
            side == 0,
            lambda packet: self._send(side, packet),
            lambda label: log(f"open {label}"),
            lambda label, payload: self.received[side].append((label, payload)),
            lambda reason: log(f"failed {reason}"),
            lambda label: log(f"closed {label}"),
            association,
        )

    def _send(self, side: int, packet: bytes) -> None:
        self.sent[side].append(packet)
        assert len(packet) <= 1159
        if self.drop(side, packet) or self._dice.random() < self.loss:
            return
        for _ in range(2 if self._dice.random() < self.duplicate else 1):
            self._number += 1
            at = self.now + self.delay + self._dice.random() * self.jitter
            heapq.heappush(self._wire, (at, self._number, 1 - side, packet))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self.now < until:
            step = min(self.now + STEP, until)
            while self._wire and self._wire[0][0] <= step:
                at, _, side, packet = heapq.heappop(self._wire)
                self.now = max(self.now, at)
                self.ends[side].receive(packet, self.now)
            self.now = step
            for each in self.ends:
                each.poll(self.now)

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Run until it holds; returns how long that took."""
        began = self.now
        while not condition():
            assert self.now - began < seconds, "it never came to it"
            self.run(0.01)
        return self.now - began

    def open(self, label: str, side: int = 0, **reliability: Any) -> None:
        opened: list[bool] = []
        self.ends[side].create(label, lambda: opened.append(True), self.now, **reliability)
        self.until(lambda: bool(opened))

    def send(self, side: int, label: str, payload: str | bytes) -> bool:
        return self.ends[side].send(label, payload, self.now)

    def close_channel(self, side: int, label: str) -> None:
        assert self.ends[side].close_channel(label, self.now)

    def move(self, side: int, written: dict[str, Any] | None = None) -> None:
        """Go on with this end in another process: handed over now, or from an older checkpoint."""
        handed_over = written is None
        written = self.ends[side].export(self.now) if written is None else written
        self.ends[side].detach()
        self.ends[side] = self.end(side)
        assert written is not None
        self.ends[side].restore(written, self.now, handed_over)
        self.ends[side].resume(self.now)

    @property
    def settled(self) -> bool:
        """Everything is acknowledged."""
        return not any(each.association.unacknowledged for each in self.ends)


def plain(written: dict[str, Any] | None) -> bool:
    """Whether it holds nothing but what a checkpoint can."""

    def is_plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str | int) and is_plain(each) for key, each in value.items())
        if isinstance(value, list):
            return all(map(is_plain, value))
        return value is None or isinstance(value, bytes) or json.dumps(value) != ""

    return is_plain(written)
