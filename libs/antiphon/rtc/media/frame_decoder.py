"""From the pieces of a jitter buffer to PCM frames of 20 ms. Sans-IO; no network, no positions, no wall clock.

A piece is decoded, recovered, concealed or silent (`jitter_buffer.Kind`); pieces that are no whole frame are joined and
cut. While the stream is longer than what was sent (`Timeline.surplus`) quiet frames are left out (`silence_trimmer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.rtc.codec import CodecName
from antiphon.rtc.media.codecs import CodecError, Decoder, decoder_of
from antiphon.rtc.media.jitter_buffer import JitterBuffer, Kind, Piece
from antiphon.rtc.media.silence_trimmer import SilenceTrimmer
from antiphon.rtc.media.timeline import TICKS_PER_SECOND
from antiphon.schemas.audio import FrameFlag

FRAMES_PER_SECOND: Final = 50


class FrameDecoder:
    """The decoder behind one jitter buffer.

    Owner: the receiver that owns the buffer; it lives as long as that one and is called from the same thread. The two
    callbacks are called inside of `play`.
    """

    def __init__(
        self,
        rate: int,
        buffer: JitterBuffer,
        on_frame: Callable[[bytes, int, float], None],
        on_jump: Callable[[int], None],
        codec: CodecName = "opus",
    ) -> None:
        """`on_frame` gets 20 ms of s16le mono at `rate` Hz, its `FrameFlag`s and when its first sample arrived, by the
        clock of the buffer. `on_jump` gets a number of samples that the position advances by without audio.
        """
        self._rate = rate
        self._buffer = buffer
        self._on_frame, self._on_jump = on_frame, on_jump
        self._codec = codec
        self._decoder: Decoder | None = None
        self._trimmer = SilenceTrimmer()
        self._frame_bytes = rate // FRAMES_PER_SECOND * 2
        self._pcm = bytearray()
        """Samples that do not fill a frame yet."""
        self._flags = 0
        """Of the samples in `_pcm`."""
        self._begun_at = 0.0
        """When the first of the samples in `_pcm` arrived."""

    @property
    def unpublished(self) -> int:
        """Samples that do not fill a frame yet."""
        return len(self._pcm) // 2

    @property
    def whole(self) -> Decoder | None:
        """The engine, while the next packet of 20 ms is a frame of its own: what it decodes may go on as it is."""
        return None if self._pcm else self._decoder

    def play(self, pieces: list[Piece]) -> None:
        """Decode the next pieces of the stream."""
        if not pieces:
            return
        if self._decoder is None:
            self._decoder = decoder_of(self._codec, self._rate)
        decoder, rate = self._decoder, self._rate
        for piece in pieces:
            flags = 0
            try:
                match piece.kind:
                    case Kind.DECODE:
                        pcm = decoder.decode(piece.payload)
                        if self._buffer.timeline.surplus >= piece.ticks and self._trims(pcm, piece.ticks):
                            continue
                    case Kind.RECOVER:
                        pcm, flags = decoder.recover(piece.payload, piece.ticks), FrameFlag.CONCEALED
                    case Kind.CONCEAL:
                        pcm, flags = decoder.conceal(piece.ticks), FrameFlag.CONCEALED
                    case Kind.SILENCE:
                        pcm, flags = bytes(piece.ticks * rate // TICKS_PER_SECOND * 2), FrameFlag.SILENCE
                    case Kind.JUMP:
                        self._on_jump(piece.ticks * rate // TICKS_PER_SECOND)
                        continue
            except CodecError:
                # A packet that its length fields allow and its content does not: a hole of the same length.
                pcm, flags = bytes(piece.ticks * rate // TICKS_PER_SECOND * 2), FrameFlag.CONCEALED
                self._buffer.counters.malformed += 1
            self._cut(pcm, flags, piece.arrived)

    def close(self) -> None:
        """Free the decoder and drop what fills no frame."""
        self._decoder = None
        self._pcm.clear()

    def _trims(self, pcm: bytes, ticks: int) -> bool:
        """Leave this piece out, if it is quiet enough: the stream is longer than what was sent."""
        if not self._trimmer.leave_out(pcm):
            return False
        self._buffer.timeline.surplus -= ticks
        if self._buffer.timeline.surplus < ticks:
            self._trimmer.reset()
        return True

    def _cut(self, pcm: bytes, flags: int, arrived: float) -> None:
        """Cut into frames; one that several pieces share has the arrival of the piece that its first sample is from."""
        size = self._frame_bytes
        if not self._pcm and len(pcm) == size:  # nearly always: a packet is a frame
            self._on_frame(pcm, flags, arrived)
            return
        if not self._pcm:
            self._begun_at = arrived
        # A frame of mixed origin is concealed if any part is, and silence only if all of it is.
        silent = flags & self._flags & FrameFlag.SILENCE if self._pcm else flags & FrameFlag.SILENCE
        self._flags = silent | ((flags | self._flags) & FrameFlag.CONCEALED)
        self._pcm += pcm
        while len(self._pcm) >= size:
            self._on_frame(bytes(self._pcm[:size]), self._flags, self._begun_at)
            del self._pcm[:size]
            self._flags, self._begun_at = flags, arrived
