"""The data channel of a client that speaks RTVI: everything on it is translated, in both directions (`rtvi`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages
from antiphon.transceiver.session import rtvi
from antiphon.transceiver.session.channels import Channels, MessageOutput
from antiphon.transceiver.session.state import RtviState, SessionState

ERRORS: Final = (10, 50)
"""Errors that a client is told per second, and at once; further ones are left out."""
KEY_MS: Final = 100.0
"""How long a key of `dtmf` was pressed, as far as an agent is told."""
MAX_EARLY: Final = 256
"""Messages kept until the client's channel is open; the oldest is dropped first."""
BY_THE_CLIENT: Final = "client"
"""The cause of a hang-up that the client asked for, as that of one over HTTP."""


class RtviChannels(Channels):
    """Owner: the `Session`, for its whole life, which calls it on the event loop only.

    The first channel that the client opens is that of its messages. Its agent sees a client of the realtime protocol
    with the channel `oai-events`.
    """

    def __init__(
        self,
        state: SessionState,
        output: MessageOutput,
        rtvi_state: RtviState,
        now: float,
        unix_offset: float = 0.0,
    ) -> None:
        """`unix_offset`: Unix time less the time that `now` counts, in seconds."""
        self._rtvi = rtvi_state
        self._unix_offset = unix_offset
        self._to_agent = output
        self._kept: deque[str | bytes] = deque(maxlen=MAX_EARLY)
        self._errors = TokenBucket(*ERRORS)
        super().__init__(state, _Translated(self._received_event, self._received_message), now)

    def send(self, channel: str, payload: str | bytes) -> None:
        """Send an agent's message: on the events channel translated, on any other one as it is."""
        if channel != messages.EVENTS_CHANNEL or isinstance(payload, bytes):
            super().send(channel, payload)
        elif not self._rtvi.label:
            self._kept.append(payload)
        else:
            self._send_all(self.as_client_reads(payload))

    @property
    def events_label(self) -> str:
        """The first channel that the client has opened; empty: none is open."""
        return self._rtvi.label

    def as_client_reads(self, event: str) -> list[str]:
        """Translated."""
        return list(rtvi.to_client(self._rtvi, event, self.now + self._unix_offset))

    def announce_draining(self, seconds: float) -> None:
        """Send the client a notice that its session will end soon, if its channel is open."""
        notice = {"type": "antiphon.draining", "seconds": seconds}
        if self._rtvi.label:
            super().send(self._rtvi.label, rtvi.message("server-message", notice))

    def say_good_bye(self, cause: str) -> bool:
        """Tell the client that its agent leaves: otherwise it would connect again."""
        if not self._rtvi.label:
            return False
        if self.hang_up is None:
            super().send(self._rtvi.label, rtvi.PEER_LEFT)
            self.hang_up = cause
        return True

    def close(self) -> None:
        """Drop what waits for the channel, and abort the association."""
        self._kept.clear()
        super().close()

    def _send_all(self, texts: Iterable[str]) -> None:
        for text in texts:
            super().send(self._rtvi.label, text)

    def _received_event(self, event: messages.Message) -> None:
        if isinstance(event, messages.ChannelClosed) and event.channel == self._rtvi.label:
            self._rtvi.label = ""  # the next one that the client opens takes its place
            event = messages.ChannelClosed(channel=messages.EVENTS_CHANNEL)
        if not isinstance(event, messages.ChannelOpened):
            self._to_agent.event(event)
            return
        if not self._rtvi.label:
            self._rtvi.label = event.channel
        if event.channel != self._rtvi.label:
            self._to_agent.event(event)
            return
        self._to_agent.event(messages.ChannelOpened(channel=messages.EVENTS_CHANNEL))
        waiting = list(self._kept)
        self._kept.clear()
        for payload in waiting:
            self.send(messages.EVENTS_CHANNEL, payload)

    def _received_message(self, received: messages.DataMessage) -> None:
        if received.channel != self._rtvi.label:
            self._to_agent.message(received)
            return
        translated = rtvi.from_client(self._rtvi, received.payload())
        for event in translated.events:
            self._to_agent.message(messages.DataMessage.of(messages.EVENTS_CHANNEL, event))
        for key in translated.keys:
            self._to_agent.event(messages.TelephoneEvent(event=key, duration_ms=KEY_MS))
        self._send_all(translated.replies)
        self._send_all([text for text in translated.errors if self._errors.take(1, self.now)])
        if translated.hang_up:
            self.say_good_bye(BY_THE_CLIENT)


class _Translated:
    """What `Channels` publishes of the client, on its way to the translation. Owner: `RtviChannels`."""

    def __init__(
        self, event: Callable[[messages.Message], None], message: Callable[[messages.DataMessage], None]
    ) -> None:
        self.event = event
        self.message = message


def channels_of(
    state: SessionState,
    output: MessageOutput,
    now: float,
    unix_offset: float,
    take_report: Callable[[str | bytes, float], bool] | None = None,
) -> Channels:
    """The data channels of a session, for what its client speaks. RTVI has no digests: all of it is translated."""
    if state.rtvi is None:
        return Channels(state, output, now, take_report)
    return RtviChannels(state, output, state.rtvi, now, unix_offset)
