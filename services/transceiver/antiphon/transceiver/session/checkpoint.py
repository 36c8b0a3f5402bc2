"""When a checkpoint of a session is due, what it holds, and which counters it reserves. No store, no network.

A checkpoint reserves counters: nothing is sent with a counter that the stored one does not cover, and a process that
takes over begins after all that it covers. So no keystream is used twice, however old the checkpoint was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from antiphon.transceiver.ice.agent import IceLite
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.sender import UNLIMITED, AudioSender
from antiphon.transceiver.session.budget import PacketBudget
from antiphon.transceiver.session.channels import Channels
from antiphon.transceiver.session.state import RECORDS_AHEAD, RTCP_AHEAD, RTP_AHEAD, SessionState
from antiphon.transceiver.session.transport import Transport

WHILE_SPEAKING: Final = 2.0
"""Seconds between two checkpoints while the agent speaks: one reserves packets for twenty times as long."""
AT_LEAST_EVERY: Final = 15.0
"""Seconds: for the position of the caller's audio, for RTCP, and because entries of the bucket expire."""

COPIED_AT_LEAST_EVERY: Final = 4.0
"""Seconds, likewise, with a copy in a second region: the conversation of its agent goes along."""


class _ReservedCounters(NamedTuple):
    """The first counter of each kind that a checkpoint does not cover."""

    packets: int
    reports: int
    records: int
    chunks: int | None


class Checkpoint:
    """The checkpoints of one session. Before `begin` nothing is limited and nothing is due.

    Owner: the `Session`, for its whole life; the checkpoint store of the process calls it, on the event loop only.
    """

    def __init__(
        self,
        state: SessionState,
        receiver: AudioReceiver,
        sender: AudioSender,
        channels: Channels,
        transport: Transport,
        ice: IceLite,
        budget: PacketBudget,
        unix_offset: float = 0.0,
    ) -> None:
        """`unix_offset`: Unix time less the time that `now` counts, in seconds."""
        self._state = state
        self._receiver, self._sender, self._channels = receiver, sender, channels
        self._transport, self._ice, self._budget = transport, ice, budget
        self._unix_offset = unix_offset
        self._request_checkpoint: Callable[[], None] | None = None
        self._touched = False
        self._written_at = float("-inf")
        self._packets_written = 0
        self._pending: _ReservedCounters | None = None
        self._reserved: _ReservedCounters | None = None
        """None: nothing is limited."""
        self._held = False

    def begin(self, request_checkpoint: Callable[[], None], silent: bool = False) -> None:
        """Checkpoints are stored from now on; `request_checkpoint` is called when one should not wait for its time.

        `silent`: nothing is sent before the first one is stored, because other processes may be taking over as well.
        """
        self._request_checkpoint = request_checkpoint
        if silent:
            self._reserve(_ReservedCounters(0, 0, 0, self._channels.next_chunk))
        self._channels.keep_checkpoints(self.touch)
        self.touch()

    def touch(self) -> None:
        """Request a checkpoint: something changed that must not be lost."""
        if self._request_checkpoint is not None and not self._touched:
            self._touched = True
            self._request_checkpoint()

    @property
    def touched(self) -> bool:
        """A checkpoint was requested that is not written yet."""
        return self._touched

    def due(self, now: float) -> bool:
        """Whether a checkpoint is due."""
        if self._request_checkpoint is None:
            return False
        speaks = self._state.rtp.packets != self._packets_written
        silent = COPIED_AT_LEAST_EVERY if self._state.copied else AT_LEAST_EVERY
        return self._touched or now - self._written_at >= (WHILE_SPEAKING if speaks else silent)

    def write(self, now: float, handing_over: bool = False) -> bytes:
        """The session's state, packed. `handing_over`: nothing will be sent after it, so every counter is exact."""
        state = self._state
        self._touched = False
        self._written_at, self._packets_written = now, state.rtp.packets
        self._receiver.export(now)
        self._sender.export(now, with_speech=handing_over)
        state.sctp = self._channels.export()
        state.seen_checks, state.strikes = self._ice.seen_checks(), self._budget.strikes(now)
        state.written_at, state.handed_over = now + self._unix_offset, handing_over
        assert state.srtp is not None
        assert state.dtls is not None
        if self._request_checkpoint is not None:
            self._pending = _ReservedCounters(
                state.rtp.packets + RTP_AHEAD,
                state.srtp.rtcp_index + RTCP_AHEAD,
                state.dtls.write_sequence + RECORDS_AHEAD,
                self._channels.freeze(),
            )
            if self._reserved is None:  # it may be stored before that is confirmed
                self._reserve(self._pending)
        return state.to_bytes()

    def stored(self) -> None:
        """The checkpoint that was written last is stored: its counters may be used."""
        if self._pending is not None:
            self._reserve(self._pending)
            self._pending = None
            self._channels.stored()

    def hold(self) -> None:
        """Use no counter at all until `release`: another process may own the session by now."""
        if not self._held:
            self._held = True
            self._apply(_ReservedCounters(0, 0, 0, self._channels.next_chunk))

    def release(self) -> None:
        """Use what is reserved again."""
        if self._held:
            self._held = False
            self._apply(self._reserved or _ReservedCounters(UNLIMITED, UNLIMITED, UNLIMITED, None))

    def _reserve(self, reserved: _ReservedCounters) -> None:
        self._reserved = reserved
        if not self._held:
            self._apply(reserved)

    def _apply(self, reserved: _ReservedCounters) -> None:
        self._sender.reserve(reserved.packets, reserved.reports)
        self._transport.reserve(reserved.records)
        if reserved.chunks is not None:
            self._channels.reserve(reserved.chunks)
