"""The engines of each codec that a call can have, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from antiphon.rtc.codec import CodecName
from antiphon.rtc.media import g711_stream, opus

CodecError = (opus.OpusError, g711_stream.G711Error)
"""What an engine raises for a packet that it can't use."""


class Decoder(Protocol):
    """From packets of one sender to s16le mono at one rate."""

    def decode(self, packet: bytes) -> bytes:
        """The packet's samples."""

    def recover(self, following: bytes, ticks: int) -> bytes:
        """`ticks` (48 kHz) of the lost packet before `following`."""

    def conceal(self, ticks: int) -> bytes:
        """`ticks` (48 kHz) of plausible sound in place of a lost packet."""


class Encoder(Protocol):
    """From frames of 20 ms to packets for one receiver."""

    rate: int
    """Hz, of the frames."""

    def expect_loss(self, percent: int) -> None:
        """Set the loss that the receiver reports."""

    def encode(self, pcm: bytes) -> bytes:
        """The packet of one frame."""


def decoder_of(codec: CodecName, rate: int) -> Decoder:
    """A decoder to `rate` Hz."""
    return opus.Decoder(rate) if codec == "opus" else g711_stream.Decoder(codec, rate)


def encoder_of(codec: CodecName, rate: int) -> Encoder:
    """An encoder of frames at `rate` Hz."""
    return opus.Encoder(rate) if codec == "opus" else g711_stream.Encoder(codec, rate)


def packet_ticks_of(codec: CodecName) -> Callable[[bytes], int]:
    """The function that tells how many ticks (48 kHz) a packet lasts, or raises one of `CodecError`."""
    return opus.packet_ticks if codec == "opus" else g711_stream.packet_ticks
