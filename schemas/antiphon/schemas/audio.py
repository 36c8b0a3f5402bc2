"""Audio frames on NATS: one msgpack array each, no NATS headers (they double the receive cost).

The array is `[version, sequence, first_sample, captured_ns, rate, flags, generation, pcm]`.
"""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Any, Final, NamedTuple

import msgpack

from antiphon.schemas.errors import MalformedError

AUDIO_VERSION: Final = 1
RATES: Final = (8000, 16000, 24000, 48000)
FRAME_MS: Final = 20


class FrameFlag(IntFlag):
    """Bits of `AudioFrame.flags`: what a consumer may want to know before it reads the samples."""

    CONCEALED = 1
    """Made by the receiver for a lost packet (FEC or concealment)."""
    SILENCE = 2
    """The sender sends nothing here (discontinuous transmission, mute); the samples are zero."""
    END_OF_UTTERANCE = 4
    """The last frame of a reply: nothing follows in this generation until the next reply."""


class AudioFrame(NamedTuple):
    """20 ms of one direction of a session. A value."""

    sequence: int
    """Counts the frames of this direction from 0."""
    first_sample: int
    """Position of the first sample since the session's start, at `rate`; jumps over gaps, so loss is seen."""
    captured_ns: int
    """Wall clock (Unix, ns) at which the frame entered the stack: of the caller's audio, the arrival of the packet with
    its first sample. docs/agent-protocol.md says what a concealed or silent frame has."""
    rate: int
    """Hz: 8000, 16000, 24000 or 48000."""
    flags: int
    """`FrameFlag` bits."""
    generation: int
    """Number of the reply, counted up by the agent: after a flush the transceiver drops frames of older generations.
    0 in `audio.in`."""
    pcm: bytes
    """Signed 16-bit little-endian mono, exactly 20 ms: `rate // 50` samples."""


_TYPES: Final = [int] * 7 + [bytes]
_PCM_BYTES: Final = {rate: rate // 50 * 2 for rate in RATES}
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def pack_frame(frame: AudioFrame) -> bytes:
    """The frame as it travels."""
    packed: bytes = _pack((AUDIO_VERSION, *frame))
    return packed


_HEAD: Final = struct.Struct(">BBBIBQBQ")
_TAIL: Final = struct.Struct(">BHBBBH")
HEAD_LENGTH: Final = _HEAD.size + _TAIL.size
"""Octets in front of the samples, where `write_head` and `pack_tail` write them."""


def write_head(buffer: memoryview, at: int, sequence: int, first_sample: int, captured_ns: int) -> None:
    """The fields that change with each frame, in a fixed width: other octets than `pack_frame`'s, the same values."""
    _HEAD.pack_into(buffer, at, 0x98, AUDIO_VERSION, 0xCE, sequence, 0xCF, first_sample, 0xCF, captured_ns)


def pack_tail(rate: int) -> bytes:
    """The fields between these and the samples, of a frame without flags and of generation 0."""
    return _TAIL.pack(0xCD, rate, 0, 0, 0xC5, _PCM_BYTES[rate])


def unpack_frame(data: bytes) -> AudioFrame:
    """Read a frame; `MalformedError` names the first thing that is wrong with it."""
    try:
        fields = msgpack.unpackb(data, raw=False, use_list=True, max_ext_len=0, max_map_len=0)
    except Exception as error:  # msgpack raises half a dozen types, some of them bare ValueError or TypeError
        raise MalformedError(f"audio frame of {len(data)} bytes is no msgpack array: {error}") from None
    # All types at once and all signs at once: field by field this cost as much as unpacking.
    typed = type(fields) is list and list(map(type, fields)) == _TYPES
    if typed and fields[0] == AUDIO_VERSION and min(fields[:7]) >= 0 and _PCM_BYTES.get(fields[4]) == len(fields[7]):
        return AudioFrame._make(fields[1:])
    raise _what_is_wrong(fields)


def _what_is_wrong(fields: Any) -> MalformedError:
    if type(fields) is not list or not fields:
        return MalformedError("audio frame is no msgpack array")
    if fields[0] != AUDIO_VERSION or type(fields[0]) is not int:
        return MalformedError(f"audio frame has version {fields[0]!r:.40}: this side speaks version {AUDIO_VERSION}")
    if len(fields) != 8:
        return MalformedError(f"audio frame has {len(fields)} fields: version {AUDIO_VERSION} has 8")
    for name, value in zip(AudioFrame._fields[:6], fields[1:7], strict=True):
        if type(value) is not int or value < 0:
            return MalformedError(f"audio frame field {name} is {value!r:.40}: expected an unsigned integer")
    rate, pcm = fields[4], fields[7]
    if rate not in RATES:
        return MalformedError(f"audio frame has rate {rate}: expected one of {', '.join(map(str, RATES))}")
    size = len(pcm) if type(pcm) is bytes else type(pcm).__name__
    return MalformedError(f"audio frame holds {size} bytes: 20 ms at {rate} Hz are {rate // 50 * 2}")
