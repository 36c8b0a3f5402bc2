"""The data channels of one session: messages from NATS to the client's channels and back, kept until those open."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from antiphon.rtc.sctp.association_state import CHUNKS_AHEAD
from antiphon.rtc.sctp.data_channels import ChannelError, DataChannels
from antiphon.schemas import messages
from antiphon.transceiver.session.state import SessionState

MAX_EARLY_DATA: Final = 256
"""Messages kept for data channels that are not open yet; the oldest is dropped first."""
MAX_EARLY_BYTES: Final = 1 << 20
"""Size of all of these messages together."""


class MessageOutput(Protocol):
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...


class Channels:
    """Owner: the `Session`, for its whole life, which calls it on the event loop only.

    For a client whose offer has no data channel section all methods do nothing.
    """

    def __init__(self, state: SessionState, output: MessageOutput) -> None:
        self._state = state
        self._output = output
        self._data: DataChannels | None = None
        self.hang_up: str | None = None
        """The cause of an end that the client was told of: the call ends as soon as that had the time to arrive."""
        self._early: deque[tuple[str, str | bytes]] = deque()
        self._request_checkpoint: Callable[[], None] | None = None

    def connect(self, send: Callable[[bytes], None]) -> None:
        """The handshake is done; `start` or `restore` follows. `send` gets SCTP packets."""
        assert self._state.dtls is not None
        if self._state.data_port is not None:
            self._data = DataChannels(self._state.dtls.client, send, self._opened, self._received, self._failed)

    def start(self) -> None:
        """Start the association with a new client."""
        if self._data is not None and self._state.data_port is not None:
            self._data.start(self._state.data_port, self._state.data_max_message)

    def restore(self) -> None:
        """Take over the association of another process; `resume` follows."""
        if self._data is not None and self._state.sctp is not None:
            self._data.restore(self._state.sctp, self._state.handed_over)

    def resume(self) -> None:
        """Continue the restored association."""
        if self._data is not None and self._state.sctp is not None:
            self._data.resume()
        else:
            self.start()  # it was not established yet: the client's INIT is answered as a new one

    def keep_checkpoints(self, request_checkpoint: Callable[[], None]) -> None:
        """Acknowledge only what a stored checkpoint holds; `request_checkpoint` is called when one is due."""
        self._request_checkpoint = request_checkpoint
        if self._data is not None:
            self._data.keep_checkpoints(request_checkpoint)

    @property
    def next_chunk(self) -> int | None:
        """The number of the next chunk of data."""
        return self._data.next_tsn if self._data is not None else None

    def freeze(self) -> int | None:
        """The last `export` is being stored; returns the first chunk number that it does not cover."""
        if self._data is None:
            return None
        self._data.freeze()
        return self._data.next_tsn + CHUNKS_AHEAD

    def reserve(self, tsn: int) -> None:
        """Chunk numbers below this one may be used."""
        if self._data is not None:
            self._data.reserve(tsn)

    def stored(self) -> None:
        """The checkpoint that `freeze` was called for is stored: acknowledge what it holds."""
        if self._data is not None:
            self._data.stored()

    def export(self) -> dict[str, Any] | None:
        """The association as a plain value, if there is one."""
        return self._data.export() if self._data is not None else None

    def receive(self, packet: bytes) -> None:
        """Take one SCTP packet."""
        if self._data is not None:
            self._data.receive(packet)

    def send(self, channel: str, payload: str | bytes) -> None:
        """Send on the client's data channel of that label; kept for a while if it is not open yet."""
        if self._state.data_port is None:
            return  # a client without data channels never opens one
        try:
            if self._data is not None and self._data.send(channel, payload):
                if self._request_checkpoint is not None:
                    self._request_checkpoint()  # until that is stored the message is lost with this process
                return
        except ChannelError as error:
            self._output.event(messages.SessionError(message=str(error)))
            return
        self._early.append((channel, payload))
        while len(self._early) > MAX_EARLY_DATA or sum(len(kept) for _, kept in self._early) > MAX_EARLY_BYTES:
            self._early.popleft()

    def announce_open(self) -> None:
        """Publish which channels are open, for an agent that gets the running session."""
        for label in self._data.open_labels if self._data is not None else ():
            self._output.event(messages.ChannelOpened(channel=label))

    def announce_draining(self, seconds: float) -> None:
        """Send the client a notice that its session will end soon, if a channel is open for it."""
        notice = {"type": "antiphon.draining", "event_id": f"event_{secrets.token_hex(8)}", "seconds": seconds}
        if self._data is not None:
            with contextlib.suppress(ChannelError):
                self._data.send(messages.EVENTS_CHANNEL, json.dumps(notice))

    def say_good_bye(self, cause: str) -> bool:
        """Tell the client that its call will end, if its dialect has words for that; `hang_up` is set then."""
        return False

    def detach(self) -> None:
        """Free the association and send nothing: it continues in another process."""
        if self._data is not None:
            self._data.detach()
        self._data = None

    def close(self) -> None:
        """Abort the association and drop the messages that wait."""
        data, self._data = self._data, None
        self._early.clear()
        if data is not None:
            data.close()

    def _opened(self, label: str) -> None:
        self._output.event(messages.ChannelOpened(channel=label))
        waiting, self._early = self._early, deque()
        for channel, payload in waiting:
            self.send(channel, payload)

    def _failed(self, reason: str) -> None:
        self._early.clear()
        self._output.event(messages.SessionError(message=f"the data channels are closed: {reason}"))

    def _received(self, label: str, payload: str | bytes) -> None:
        self._output.message(messages.DataMessage.of(label, payload))
