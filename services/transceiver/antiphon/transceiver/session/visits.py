"""Which timers of the wheel a session has.

Its sender's while there is speech, its receiver's from the first packet on, its handshake's while a flight may have to
be repeated, and its data channels' while what the client sent waits for its turn.

The wheel calls every 20 ms. An error in a visit ends the session, as `contained` does for its other entry points.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon.rtc.dtls.setup import DtlsSetup
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.channels import Channels
from antiphon.transceiver.timing.pacing import INPUT_TOLERANCE, PERIOD, SPEECH_TOLERANCE

Visitor = Callable[[float], None]


class Visits:
    """Owner: the `Session`, for its whole life; event loop only. After `end` nothing is visited."""

    def __init__(
        self,
        receiver: AudioReceiver,
        sender: AudioSender,
        channels: Channels,
        setup: DtlsSetup,
        join: Callable[[Visitor, float, float], None],
        leave: Callable[[Visitor], None],
        failed: Callable[[], None],
    ) -> None:
        """`join` and `leave` begin and end visits of the timing wheel. `failed` is called in an exception handler."""
        self._receiver, self._sender, self._channels = receiver, sender, channels
        self._setup = setup
        self._join, self._leave = join, leave
        self._failed = failed
        self._speech_visited = self._channels_visited = False
        self._ended = False

    def wake_input(self, now: float) -> None:
        """The first packet of the client has come."""
        self._join(self._visit_input, now, INPUT_TOLERANCE)

    def wake_speech(self, now: float) -> None:
        """There may be speech to send, or it may have become overdue."""
        if self._speech_visited:  # for nearly every frame
            if self._sender.overdue:
                self._visit_speech(now)
        elif self._sender.has_speech and not self._ended:
            self._join(self._visit_speech, now, SPEECH_TOLERANCE)
            self._speech_visited = True

    def wake_channels(self, now: float) -> None:
        """Data of the client has come; some of it may wait for its turn."""
        if self._channels.busy and not self._channels_visited and not self._ended:
            self._channels_visited = True
            self._join(self._visit_channels, now, INPUT_TOLERANCE)

    def wake_handshake(self, now: float) -> None:
        """The handshake begins."""
        self._join(self._visit_handshake, now, INPUT_TOLERANCE)

    def end(self) -> None:
        self._ended = True
        self._leave(self._visit_input)
        self._leave(self._visit_speech)
        self._leave(self._visit_channels)
        self._leave(self._visit_handshake)

    def _visit_speech(self, now: float) -> None:
        try:
            if not self._ended and self._sender.visit(now):
                if self._sender.hasten:
                    self._leave(self._visit_speech)
                    self._join(self._visit_speech, now + PERIOD - self._sender.hasten, 0.0)
                return
        except Exception:
            self._failed()
        self._speech_visited = False
        self._leave(self._visit_speech)

    def _visit_input(self, now: float) -> None:
        try:
            if not self._ended:
                self._receiver.visit(now)
        except Exception:
            self._failed()

    def _visit_channels(self, now: float) -> None:
        try:
            if not self._ended:
                self._channels.poll(now)
                if self._channels.busy:
                    return
        except Exception:
            self._failed()
        self._channels_visited = False
        self._leave(self._visit_channels)

    def _visit_handshake(self, now: float) -> None:
        """Repeats a lost flight. No turn is taken for it: it costs no step of OpenSSL."""
        try:
            if not self._ended:
                self._setup.poll(now)
        except Exception:
            self._failed()
        if self._setup.idle or self._ended:
            self._leave(self._visit_handshake)
