"""The data channels of one session: messages from NATS to the client's channels and back, kept until those open."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from antiphon.rtc.sctp.association_state import CHUNKS_AHEAD
from antiphon.rtc.sctp.data_channels import ChannelError, DataChannels, MessageTooLongError
from antiphon.schemas import messages
from antiphon.transceiver.session.state import SessionState

MAX_EARLY_DATA: Final = 256
"""Messages kept for data channels that are not open yet; the oldest is dropped first."""
MAX_EARLY_BYTES: Final = 1 << 20
"""Size of all of these messages together."""
MAX_ERROR_TEXT: Final = 500
"""Characters of an error's text."""

_TYPE: Final = re.compile(r'"type"\s*:\s*"([\w.]{1,80})"')


class MessageOutput(Protocol):
    def event(self, event: messages.Message) -> None: ...
    def message(self, message: messages.DataMessage) -> None: ...


class Channels:
    """Owner: the `Session`, for its whole life, which calls it on the event loop only.

    For a client whose offer has no data channel section all methods do nothing. What is called without a time counts as
    of the last call with one, which is at most the 50 ms between two polls ago.
    """

    def __init__(
        self,
        state: SessionState,
        output: MessageOutput,
        now: float,
        take_report: Callable[[str | bytes, float], bool] | None = None,
    ) -> None:
        """`take_report(message, now)`: True if a message of the events channel is not for the agent."""
        self._state = state
        self._take_report = take_report
        self._output = output
        self.now = now
        """When it was called last with a time."""
        self._data: DataChannels | None = None
        self.hang_up: str | None = None
        """The cause of an end that the client was told of: the call ends as soon as that had the time to arrive."""
        self._early: deque[tuple[str, str | bytes]] = deque()
        self._request_checkpoint: Callable[[], None] | None = None
        self._dropped = 0
        """Messages to the client since it was last told of such."""

    def connect(self, send: Callable[[bytes], None]) -> None:
        """The handshake is done; `start` or `restore` follows. `send` gets SCTP packets."""
        assert self._state.dtls is not None
        if self._state.data_port is not None:
            self._data = DataChannels(
                self._state.dtls.client, send, self._opened, self._received, self._failed, self._closed
            )

    def start(self, now: float) -> None:
        """Start the association with a new client."""
        self.now = now
        if self._data is not None and self._state.data_port is not None:
            self._data.start(self._state.data_port, self._state.data_max_message, now)

    def restore(self, now: float) -> None:
        """Take over the association of another process; `resume` follows. One that can't be read is given up: the
        call goes on without data channels.
        """
        self.now = now
        if self._data is not None and self._state.sctp is not None:
            try:
                self._data.restore(self._state.sctp, now, self._state.handed_over)
            except ValueError as error:
                self._data = None
                self._failed(str(error))

    def resume(self, now: float) -> None:
        """Continue the restored association."""
        self.now = now
        if self._data is not None and self._state.sctp is not None:
            self._data.resume(now)
        else:
            self.start(now)  # it was not established yet: the client takes it for a new beginning

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
            self._data.stored(self.now)

    def export(self) -> dict[str, Any] | None:
        """The association as a plain value, if there is one."""
        return self._data.export(self.now) if self._data is not None else None

    def receive(self, packet: bytes, now: float) -> None:
        """Take one SCTP packet."""
        self.now = now
        if self._data is not None:
            self._data.receive(packet, now)

    def poll(self, now: float) -> None:
        """Timers; call it every 50 ms or so, and every 20 ms while `busy`."""
        self.now = now
        if self._data is not None:
            self._data.poll(now)
            if self._dropped:
                self._announce_drops(self._data)

    @property
    def busy(self) -> bool:
        """Packets or messages of the client wait for their turn."""
        return self._data is not None and self._data.association.busy

    def send(self, channel: str, payload: str | bytes) -> None:
        """Send on the client's data channel of that label; kept for a while if it is not open yet."""
        if self._state.data_port is None:
            return  # a client without data channels never opens one
        try:
            if self._data is not None and self._data.send(channel, payload, self.now):
                if self._request_checkpoint is not None:
                    self._request_checkpoint()  # until that is stored the message is lost with this process
                return
        except ChannelError as error:
            self._refused(payload, error)
            return
        self._early.append((channel, payload))
        dropped = 0
        while len(self._early) > MAX_EARLY_DATA or sum(len(kept) for _, kept in self._early) > MAX_EARLY_BYTES:
            self._early.popleft()
            dropped += 1
        if dropped and not self._dropped:
            self._output.event(
                messages.SessionError(message=f"data channel {channel!r} is not open: the oldest messages are dropped")
            )
        self._dropped += dropped

    def _refused(self, payload: str | bytes, error: ChannelError) -> None:
        """Both ends learn of a message that can't be sent: the client would wait for it."""
        self._output.event(messages.SessionError(message=str(error)))
        if isinstance(error, MessageTooLongError) and self._data is not None:
            self._send_error("message_too_long", f"{_named(payload)} was not sent: {error}")
        else:
            self._dropped += 1  # there is no room for a notice now

    def _announce_drops(self, data: DataChannels) -> None:
        if data.unsent == 0 and self.events_label in data.open_labels:
            dropped, self._dropped = self._dropped, 0
            self._send_error("messages_dropped", f"{dropped} messages to you were dropped: your data channel took none")

    @property
    def events_label(self) -> str:
        """Of the channel on which the client gets events."""
        return messages.EVENTS_CHANNEL

    def as_client_reads(self, event: str) -> list[str]:
        """An event of the realtime protocol, in the messages that the client's protocol has for it."""
        return [event]

    def _send_error(self, code: str, text: str) -> None:
        """Send an `error` event to the client, no longer than it takes."""
        assert self._data is not None
        length = min(MAX_ERROR_TEXT, len(text))
        with contextlib.suppress(ChannelError):
            while length > 0:
                sent = self.as_client_reads(json.dumps(error_event(code, text[:length])))
                if all(len(each) <= self._data.max_message for each in sent):
                    for each in sent:
                        self._data.send(self.events_label, each, self.now)
                    return
                length //= 2

    def announce_open(self) -> None:
        """Publish which channels are open, for an agent that gets the running session."""
        for label in self._data.open_labels if self._data is not None else ():
            self._output.event(messages.ChannelOpened(channel=label))

    def announce_draining(self, seconds: float) -> None:
        """Send the client a notice that its session will end soon, if a channel is open for it."""
        notice = {"type": "antiphon.draining", "event_id": f"event_{secrets.token_hex(8)}", "seconds": seconds}
        if self._data is not None:
            with contextlib.suppress(ChannelError):
                self._data.send(messages.EVENTS_CHANNEL, json.dumps(notice), self.now)

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
            data.close(self.now)

    def _opened(self, label: str) -> None:
        self._output.event(messages.ChannelOpened(channel=label))
        waiting, self._early = self._early, deque()
        for channel, payload in waiting:
            self.send(channel, payload)

    def _closed(self, label: str) -> None:
        self._output.event(messages.ChannelClosed(channel=label))

    def _failed(self, reason: str) -> None:
        self._early.clear()
        self._output.event(messages.SessionError(message=f"the data channels are closed: {reason}"))

    def _received(self, label: str, payload: str | bytes) -> None:
        if label == messages.EVENTS_CHANNEL and self._take_report is not None and self._take_report(payload, self.now):
            return
        self._output.message(messages.DataMessage.of(label, payload))


def _named(payload: str | bytes) -> str:
    """An event by its type, as far as it has one at its beginning."""
    found = _TYPE.search(payload[:200]) if isinstance(payload, str) else None
    return f"an event {found[1]!r}" if found else "a message"


def error_event(code: str, text: str) -> dict[str, Any]:
    """An `error` of the realtime protocol."""
    return {
        "type": "error",
        "event_id": f"event_{secrets.token_hex(8)}",
        "error": {"type": "server_error", "code": code, "message": text, "param": None, "event_id": None},
    }
