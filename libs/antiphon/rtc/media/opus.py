"""Opus by libopus itself: one call per packet on buffers that are made once.

The library is the copy in PyAV's wheel where that is installed, else the system's, as in our images. The media path of
a process is single-threaded, so one set of scratch buffers serves every session. Constants and calls: opus_defines.h
and opus.h of libopus 1.3 and later; RFC 6716.
"""

from __future__ import annotations

import ctypes.util
from typing import Any, Final

from cffi import FFI

from antiphon.rtc.media.pyav_internals import carried_by_pyav

MAX_PACKET_MS: Final = 120
MAX_PACKET_BYTES: Final = 1275

# AUDIO, not VOIP: of read speech at 24 kbit/s it keeps a waveform correlation of 0.96 with the original where
# VOIP's high-pass leaves 0.77, and while the receiver loses nothing it uses CELT, a third of the CPU. With an expected
# loss of 10 % it changes to SILK, the mode that has in-band FEC; at 5 % it did not.
APPLICATION_AUDIO: Final = 2049
FEC_WORTH: Final = 3
"""Percent of reported loss; below it retransmissions are enough."""
FEC_FROM: Final = 10
"""Percent: above `FEC_WORTH` the encoder is set to at least this. Below it libopus 1.6 stays with CELT at 24 kbit/s,
which has no FEC."""
# By `antiphon bench opus` (docs/transceiver.md) a higher complexity gains nothing in CELT that Whisper or ViSQOL
# measure, and 0 costs half of 5; in SILK, which a lossy path gets, more words are recognised correctly.
COMPLEXITY: Final = 0
COMPLEXITY_WITH_FEC: Final = 5
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERC: Final = 4014

_ffi = FFI()
_ffi.cdef(
    """
    typedef struct OpusEncoder OpusEncoder;
    typedef struct OpusDecoder OpusDecoder;
    OpusEncoder *opus_encoder_create(int rate, int channels, int application, int *error);
    int opus_encode(OpusEncoder *, const void *pcm, int frame_size, void *data, int max_bytes);
    int opus_encoder_ctl(OpusEncoder *, int request, ...);
    void opus_encoder_destroy(OpusEncoder *);
    OpusDecoder *opus_decoder_create(int rate, int channels, int *error);
    int opus_decode(OpusDecoder *, const void *data, int bytes, void *pcm, int frame_size, int fec);
    void opus_decoder_destroy(OpusDecoder *);
    int opus_packet_get_nb_samples(const void *data, int bytes, int rate);
    const char *opus_strerror(int error);
    const char *opus_get_version_string(void);
    """
)


def _load() -> Any:
    candidates = carried_by_pyav("libopus")
    system = ctypes.util.find_library("opus")
    candidates += [system] if system else []
    candidates.append("libopus.so.0")  # its name on Linux; `find_library` needs a program that small images lack
    for name in candidates:
        try:
            return _ffi.dlopen(name)
        except OSError:
            continue
    raise ImportError("libopus was found neither beside PyAV nor on the system: install libopus (Debian: libopus0)")


_lib: Final = _load()
_decode: Final[Any] = _lib.opus_decode
_encode: Final[Any] = _lib.opus_encode
_packet_samples: Final[Any] = _lib.opus_packet_get_nb_samples
_error: Final = _ffi.new("int *")
_pcm: Final = _ffi.new("unsigned char[]", 48 * MAX_PACKET_MS * 2 * 2)
_pcm_view: Final = _ffi.buffer(_pcm)
_packet: Final = _ffi.new("unsigned char[]", MAX_PACKET_BYTES)
_packet_view: Final = _ffi.buffer(_packet)


class OpusError(ValueError):
    """libopus refused a packet or a setting."""


def version() -> str:
    """The version text of the libopus that was found."""
    text: bytes = _ffi.string(_lib.opus_get_version_string())
    return text.decode()


def address_of(function: str) -> int:
    """Where a function of libopus is, for code in C."""
    return int(_ffi.cast("uintptr_t", _ffi.addressof(_lib, function)))


def _failed(code: int) -> OpusError:
    return OpusError(_ffi.string(_lib.opus_strerror(code)).decode())


def packet_ticks(packet: bytes) -> int:
    """Duration of a packet in 48 kHz ticks, read from its first bytes; OpusError if it is none."""
    ticks: int = _packet_samples(packet, len(packet), 48000)
    if ticks <= 0:
        raise _failed(ticks)
    return ticks


TICKS_OF_ONE_FRAME: Final = tuple(packet_ticks(bytes([toc, 0])) if toc & 3 == 0 else 0 for toc in range(256))
"""By the first octet of a packet: 48 kHz ticks, where it holds one frame (code 0 of RFC 6716 section 3.1), else 0."""


def bitrate_under_loss(percent: int) -> int:
    """The highest bit rate for a path with this loss.

    Up to 20 % loss the rate stays, because in-band FEC needs its bits. A higher loss is more often congestion than
    radio, and only a lower rate helps; 20 kbit/s still carry FEC, 16 kbit/s did not.
    """
    return 64000 if percent <= 20 else 20000


class Decoder:
    """Decodes one direction of one call to mono at `rate`, or a recording to both its sides in turn.

    Owner: a `FrameDecoder`. All decoders and encoders share scratch buffers: one thread of a process only.
    """

    def __init__(self, rate: int, channels: int = 1) -> None:
        self.rate = rate
        self._sample_bytes = 2 * channels
        pointer = _lib.opus_decoder_create(rate, channels, _error)
        if _error[0]:
            raise _failed(_error[0])
        self._decoder = _ffi.gc(pointer, _lib.opus_decoder_destroy, size=18000)

    @property
    def address(self) -> int:
        """Of libopus's own decoder, for code in C; valid as long as this one lives."""
        return int(_ffi.cast("uintptr_t", self._decoder))

    def decode(self, packet: bytes) -> bytes:
        """The packet's samples, s16le at `rate`."""
        return self._run(packet, len(packet), self.rate * MAX_PACKET_MS // 1000, 0)

    def decode_into(self, packet: Any, length: int, pcm: Any, samples: int) -> int:
        """Decode `length` octets at `packet` to `pcm` (`char *` both), which has room for so many samples of a channel.

        How many there are; below 0: libopus refuses the packet.
        """
        count: int = _decode(self._decoder, packet, length, pcm, samples, 0)
        return count

    def recover(self, following: bytes, ticks: int) -> bytes:
        """`ticks` of the packet before `following`, from its in-band FEC; concealment if it carries none."""
        return self._run(following, len(following), ticks * self.rate // 48000, 1)

    def conceal(self, ticks: int) -> bytes:
        """`ticks` of plausible sound in place of a lost packet."""
        return self._run(_ffi.NULL, 0, ticks * self.rate // 48000, 0)

    def _run(self, packet: Any, length: int, samples: int, fec: int) -> bytes:
        count = _decode(self._decoder, packet, length, _pcm, samples, fec)
        if count < 0:
            raise _failed(count)
        pcm: bytes = _pcm_view[0 : self._sample_bytes * count]
        return pcm


class Encoder:
    """Encodes one direction of one call: mono speech, packets of 20 ms; or both sides of a recording.

    Owner: the sender of a session or client. All decoders and encoders share scratch buffers: one thread only.
    """

    def __init__(
        self,
        rate: int,
        bitrate: int = 24000,
        complexity: int = COMPLEXITY,
        application: int = APPLICATION_AUDIO,
        complexity_with_fec: int = COMPLEXITY_WITH_FEC,
        channels: int = 1,
    ) -> None:
        self.rate = rate
        self._loss = -1
        self._complexities = complexity, complexity_with_fec
        self._full_bitrate = self._bitrate = bitrate
        pointer = _lib.opus_encoder_create(rate, channels, application, _error)
        if _error[0]:
            raise _failed(_error[0])
        self._encoder = _ffi.gc(pointer, _lib.opus_encoder_destroy, size=25000)
        self._set(_SET_BITRATE, bitrate)
        self._set(_SET_INBAND_FEC, 1)
        self.expect_loss(0)

    @property
    def address(self) -> int:
        """Of libopus's own encoder, for code in C; valid as long as this one lives."""
        return int(_ffi.cast("uintptr_t", self._encoder))

    def expect_loss(self, percent: int) -> None:
        """Set the loss that the receiver reports: from `FEC_WORTH` on, bits and CPU are spent on in-band FEC."""
        percent = max(percent, FEC_FROM) if percent >= FEC_WORTH else percent
        if percent != self._loss:
            self._loss = percent
            self._set(_SET_PACKET_LOSS_PERC, percent)
            self._set(_SET_COMPLEXITY, self._complexities[percent >= FEC_WORTH])
            bitrate = min(self._full_bitrate, bitrate_under_loss(percent))
            if bitrate != self._bitrate:
                self._bitrate = bitrate
                self._set(_SET_BITRATE, bitrate)

    def encode(self, pcm: bytes) -> bytes:
        """One packet of 20 ms: `rate // 50` samples of each channel, s16le."""
        size = _encode(self._encoder, pcm, self.rate // 50, _packet, MAX_PACKET_BYTES)
        if size < 0:
            raise _failed(size)
        packet: bytes = _packet_view[0:size]
        return packet

    def encode_into(self, pcm: bytes, packet: Any, room: int) -> int:
        """As `encode`, to `packet` (`char *`), which has room for so many octets: how many the packet has."""
        size: int = _encode(self._encoder, pcm, self.rate // 50, packet, room)
        if size < 0:
            raise _failed(size)
        return size

    def _set(self, request: int, value: int) -> None:
        code = _lib.opus_encoder_ctl(self._encoder, request, _ffi.cast("int", value))
        if code:
            raise _failed(code)
