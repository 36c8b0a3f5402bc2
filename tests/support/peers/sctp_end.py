"""Data channels on the virtual clock: the time is that of the loop, and a timer of the loop polls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from support.net.emulator import virtual_loop

from antiphon.rtc.sctp.association import Association
from antiphon.rtc.sctp.data_channels import DataChannels


class End:
    """One end of an association: `DataChannels` and the timer that a session has for it."""

    def __init__(
        self,
        client: bool,
        send: Callable[[bytes], None],
        on_open: Callable[[str], None] = lambda label: None,
        on_message: Callable[[str, str | bytes], None] = lambda label, payload: None,
        on_failed: Callable[[str], None] = lambda reason: None,
        on_close: Callable[[str], None] = lambda label: None,
        association: Association | None = None,
    ) -> None:
        self.on_message = on_message
        self.channels = DataChannels(
            client,
            send,
            on_open,
            lambda label, payload: self.on_message(label, payload),
            on_failed,
            on_close,
            association,
        )
        self.association = self.channels.association
        self._loop = virtual_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at: float | None = None

    def _arm(self) -> None:
        at = self.channels.timeout
        if at != self._at:
            if self._timer is not None:
                self._timer.cancel()
            self._at = at
            self._timer = None if at is None else self._loop.call_at(at, self._poll)

    def _poll(self) -> None:
        self._timer = self._at = None
        self.channels.poll(self._loop.time())
        self._arm()

    def start(self, remote_port: int = 5000, remote_max_message: int = 65536) -> None:
        self.channels.start(remote_port, remote_max_message, self._loop.time())
        self._arm()

    def receive(self, data: bytes) -> None:
        self.channels.receive(data, self._loop.time())
        self._arm()

    def create(self, label: str, on_open: Callable[[], None] = lambda: None, **reliability: Any) -> None:
        self.channels.create(label, on_open, self._loop.time(), **reliability)
        self._arm()

    async def open(self, label: str, **reliability: Any) -> None:
        """Create a channel and wait until it is open."""
        opened = asyncio.Event()
        self.create(label, opened.set, **reliability)
        async with asyncio.timeout(60):
            await opened.wait()

    def send(self, label: str, payload: str | bytes) -> bool:
        try:
            return self.channels.send(label, payload, self._loop.time())
        finally:
            self._arm()

    def close_channel(self, label: str) -> bool:
        try:
            return self.channels.close_channel(label, self._loop.time())
        finally:
            self._arm()

    def export(self) -> dict[str, Any] | None:
        return self.channels.export(self._loop.time())

    def restore(self, written: dict[str, Any], handed_over: bool = True) -> None:
        self.channels.restore(written, self._loop.time(), handed_over)

    def resume(self) -> None:
        self.channels.resume(self._loop.time())
        self._arm()

    def stored(self) -> None:
        self.channels.stored(self._loop.time())
        self._arm()

    def detach(self) -> None:
        self.channels.detach()
        self._arm()

    def close(self) -> None:
        self.channels.close(self._loop.time())
        self._arm()

    @property
    def next_tsn(self) -> int:
        return self.channels.next_tsn

    @property
    def labels(self) -> list[str]:
        return self.channels.open_labels
