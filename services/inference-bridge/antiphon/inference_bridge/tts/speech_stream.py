"""The body of an `audio/speech` answer, as it comes in pieces of any size, to samples at `SPEECH_RATE`. Sans-IO.

Raw PCM is asked for. Services that send WAV are read too, at its own rate; other containers are refused by an error
that names them, because a decoder for each would be needed.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE, Samples

_HEAD: Final = 16
"""Bytes after which the kind of an answer is known; shorter ones are judged by their end."""
_TEXT_HEAD: Final = 240
"""Likewise of text, which an error message is to show."""
_MAX_WAV_HEAD: Final = 64 * 1024
"""Bytes before the samples of a WAV file; some tools write pictures there."""
_RATES: Final = range(4000, 192_001)
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_TEXT_TYPES: Final = ("json", "text/", "xml", "html")
_LOUD: Final = 328
"""1 % of full scale: what is below counts as silence."""
_LEAD: Final = SPEECH_RATE * 20 // 1000
_TAIL: Final = SPEECH_RATE * 60 // 1000
_LONGEST_TRIM: Final = SPEECH_RATE
"""A longer silence at the beginning is not cut, and one inside is passed on, so that nothing waits for its end."""


class NotSpeechError(ValueError):
    """The answer is no audio that can be read. `kind` is short; the text says the way out."""

    def __init__(self, kind: str, fix: str) -> None:
        super().__init__(f"{kind}: {fix}")
        self.kind, self.fix = kind, fix


class SpeechDecoder:
    """Reads one answer. Owned by the request for it, used on the event loop.

    `feed` each piece of the body, then call `end` once.
    """

    def __init__(self, content_type: str = "", rate_hint: str = "") -> None:
        """`content_type` and `rate_hint`: headers of the answer; a rate in them is that of raw samples."""
        self._type = content_type.lower()
        self._is_text = any(kind in self._type for kind in _TEXT_TYPES)
        self._rate = _rate_in(content_type) or _rate_in(f"rate={rate_hint}") or SPEECH_RATE
        self._channels = _number_in("channels", content_type) or 1
        self._float = False
        self._waiting = bytearray()
        """Bytes that are not used yet: a head that is incomplete, half a sample."""
        self._known = False
        self._left: int | None = None
        """Bytes of samples that a WAV file still has; None: until the end."""
        self._resampler: soxr.ResampleStream | None = None

    def feed(self, piece: bytes) -> Samples:
        """The samples that this piece completes; `NotSpeechError` for what is none."""
        self._waiting += piece
        enough = _TEXT_HEAD if self._is_text else _HEAD
        if not self._known and not (len(self._waiting) >= enough and self._begin(last=False)):
            return _none()
        return self._samples(last=False)

    def end(self) -> Samples:
        """The last samples; `NotSpeechError` for an answer that was none at all."""
        if not self._known:
            if not self._waiting:
                raise NotSpeechError("no audio in the answer", "does it have this voice, and speak this language?")
            if not self._begin(last=True):
                raise NotSpeechError("a WAV file without samples", "its log may say why")
        return self._samples(last=True)

    def _begin(self, last: bool) -> bool:
        """Find out what comes; False: more bytes are needed."""
        head = bytes(self._waiting)
        if head.startswith(b"RIFF") and (head[8:12] == b"WAVE" or len(head) < 12):
            start = self._wav_head(head)
            if start is None:
                if last or len(head) > _MAX_WAV_HEAD:
                    raise NotSpeechError("a WAV file whose head never ends", "it may be broken")
                return False
            del self._waiting[:start]
        else:
            self._refuse_others(head)
        if self._rate != SPEECH_RATE:
            self._resampler = soxr.ResampleStream(self._rate, SPEECH_RATE, 1, dtype="float32")
        self._known = True
        return True

    def _refuse_others(self, head: bytes) -> None:
        way_out = (
            "it ignores response_format: raw samples (pcm) or wav are needed; take a service that sends them, or set "
            "its default format"
        )
        name = _container(head, self._type)
        if name:
            raise NotSpeechError(f"{name} instead of raw samples", way_out)
        if self._is_text:
            text = " ".join(head.decode("utf-8", "replace").split())
            raise NotSpeechError(
                f"text instead of audio ({text[:_TEXT_HEAD]!r})", "is its address that of a speech service?"
            )

    def _wav_head(self, head: bytes) -> int | None:
        """Where the samples begin; None if the head is incomplete (RIFF, Multimedia Programming Interface 1.0)."""
        at, form = 12, b""
        while len(head) >= at + 8:
            name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data":
                if not form:
                    raise NotSpeechError("a WAV file without a format", "it may be broken")
                self._left = None if size in (0, 0xFFFFFFFF) or size >= 0x7FFFFFFF - 4096 else size
                return at + 8
            if name == b"fmt ":
                form = head[at + 8 : at + 8 + size]
                if len(form) < size:
                    return None
                self._read_format(form)
            at += 8 + size + size % 2
        return None

    def _read_format(self, form: bytes) -> None:
        if len(form) < 16:
            raise NotSpeechError("a WAV file without a format", "it may be broken")
        kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
        if kind == _EXTENSIBLE and len(form) >= 26:
            kind = int.from_bytes(form[24:26], "little")
        if (kind, bits) not in ((_PCM, 16), (_FLOAT, 32)) or not 1 <= channels <= 8 or rate not in _RATES:
            about = f"a WAV file of kind {kind}, {bits} bits, {channels} channels, {rate} Hz"
            raise NotSpeechError(about, "16-bit integers or 32-bit floats are read, at most 8 channels")
        self._float, self._channels, self._rate = kind == _FLOAT, channels, rate

    def _samples(self, last: bool) -> Samples:
        width = (4 if self._float else 2) * self._channels
        whole = len(self._waiting) - len(self._waiting) % width
        if self._left is not None:
            whole = min(whole, self._left - self._left % width)
            self._left -= whole
        data = bytes(self._waiting[:whole])
        if self._left is not None and self._left < width:
            self._waiting.clear()  # what lies behind the samples of a WAV file
        else:
            del self._waiting[:whole]
        samples: npt.NDArray[Any]
        if self._float:
            samples = np.nan_to_num(np.frombuffer(data, dtype="<f4").astype(np.float32))
        else:
            raw = np.frombuffer(data, dtype="<i2")
            if self._channels == 1 and self._resampler is None:
                return raw.astype(np.int16)
            samples = raw.astype(np.float32) / 32768
        if self._channels > 1:
            samples = np.asarray(samples.reshape(-1, self._channels).mean(axis=1), dtype=np.float32)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        out: Samples = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
        return out


class SilenceTrimmer:
    """Takes the silence away with which a voice begins and ends, which the caller would wait for. Sans-IO.

    Owned by the request of one clause. A pause inside is kept.
    """

    def __init__(self) -> None:
        self._begun = False
        self._quiet = _none()
        """Silence that may be the end."""
        self._dropped = 0

    def feed(self, samples: Samples) -> Samples:
        """What of `samples`, and of the silence before them, is passed on."""
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= _LOUD)
        if not loud.size:
            self._quiet = np.concatenate((self._quiet, samples))
            if not self._begun and self._dropped < _LONGEST_TRIM:
                self._dropped += max(0, self._quiet.size - _LEAD)
                self._quiet = self._quiet[-_LEAD:]
                return _none()
            out, self._quiet = self._quiet[:-_LONGEST_TRIM], self._quiet[-_LONGEST_TRIM:]
            return out
        first, last = int(loud[0]), int(loud[-1]) + 1
        before = np.concatenate((self._quiet, samples[:first]))
        if not self._begun:
            before = before[-_LEAD:]
        self._begun = True
        self._quiet = samples[last:]
        return np.concatenate((before, samples[first:last]))

    def end(self) -> Samples:
        """A short silence at the end, so that the last sound is not cut off."""
        return self._quiet[:_TAIL] if self._begun else _none()


def trimmed(samples: Samples) -> Samples:
    """`samples` without the silence at both ends."""
    trimmer = SilenceTrimmer()
    return np.concatenate((trimmer.feed(samples), trimmer.end()))


def _none() -> Samples:
    return np.zeros(0, dtype=np.int16)


def _rate_in(header: str) -> int:
    rate = _number_in("rate", header)
    return rate if rate in _RATES else 0


def _number_in(name: str, header: str) -> int:
    found = re.search(rf"(?:^|[;\s-]){name}=\"?(\d{{1,7}})", header.lower())
    return int(found[1]) if found else 0


def _container(head: bytes, content_type: str) -> str:
    """The name of a container that is not read; empty for raw samples, as far as one can tell."""
    for mark, name in ((b"OggS", "Ogg (opus)"), (b"fLaC", "FLAC"), (b"ID3", "MP3"), (b"\x1aE\xdf\xa3", "WebM")):
        if head.startswith(mark):
            return name
    if head[4:8] == b"ftyp":
        return "MP4 (aac)"
    for part, name in (("mpeg", "MP3"), ("mp3", "MP3"), ("ogg", "Ogg (opus)"), ("opus", "opus"), ("flac", "FLAC"),
                       ("aac", "AAC"), ("webm", "WebM"), ("mp4", "MP4 (aac)")):  # fmt: skip
        if part in content_type:
            return name
    if "pcm" in content_type or "l16" in content_type or "wav" in content_type or "raw" in content_type:
        return ""
    # a frame of MPEG audio: 11 bits set, then a layer, bit rate and sampling rate that exist (ISO 11172-3)
    frame = (
        len(head) >= 3
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] >> 4 not in (0, 15)
        and head[2] >> 2 & 3 != 3
    )
    adts = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return "MP3" if frame else "AAC" if adts else ""
