"""Datagrams that leave together: what is sent while many packets or many visits are handled goes out in few calls."""

from __future__ import annotations

from typing import Protocol

from antiphon.transceiver.net.datagram_batch import ROOM, ROWS, SendBatch, send_batch


class Sender(Protocol):
    """The socket whose datagrams are held: `TunnelSocket`."""

    family: int

    def fileno(self) -> int: ...
    def count_dropped(self, datagrams: int) -> None: ...


class HeldDatagrams:
    """What the sockets of a process send between `hold` and `release`, in order.

    Owner: the process, for its whole life; all its sockets share it. Event loop only. Bounded by the rows of a batch:
    a full one is sent at once.
    """

    def __init__(self) -> None:
        self._holding = False
        self._sender: Sender | None = None
        """Whose datagrams wait."""
        self._batch: SendBatch | None = None

    def hold(self) -> None:
        """Collect from now on, until `release`, which the same caller calls in the same iteration of the loop."""
        self._holding = True

    def release(self) -> None:
        """Send what was collected."""
        self._holding = False
        self.flush()

    def put(self, sender: Sender, data: bytes, to: tuple[str, int]) -> bool:
        """Keep one datagram; False: it has to be sent now, and nothing waits before it any more."""
        if not self._holding:
            return False
        batch = self.open_row(sender)
        if batch is None:
            return False
        try:
            if len(data) <= ROOM:
                batch.put(data, to)
                return True
        except ValueError:  # no address: the socket says so
            pass
        self.flush()
        return False

    def open_row(self, sender: Sender) -> SendBatch | None:
        """The batch whose next row may be filled in place, for this socket; None: send by other means."""
        if not self._holding:
            return None
        if sender is not self._sender or self._batch is None or self._batch.count == ROWS:
            self.flush()
            self._sender, self._batch = sender, send_batch(sender.family)
        return self._batch

    def flush(self) -> None:
        """Send what waits now."""
        if self._sender is not None and self._batch is not None and self._batch.count:
            dropped = self._batch.send(self._sender.fileno())
            if dropped:
                self._sender.count_dropped(dropped)
