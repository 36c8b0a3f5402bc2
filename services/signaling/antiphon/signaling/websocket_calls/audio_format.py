"""The formats in which a client sends and receives audio: PCM at 24 kHz, and both laws of G.711 at 8 kHz. Pure.

A session names them as `audio.input.format` and `audio.output.format`, or flat as `input_audio_format` and
`output_audio_format` in the protocol's first version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal

import numpy as np

from antiphon.rtc.media import g711

Side = Literal["input", "output"]


class AudioFormat(Enum):
    """One format; the value is its name in a session of today."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"

    @property
    def rate(self) -> int:
        """Samples per second."""
        return 24000 if self is AudioFormat.PCM else 8000

    @property
    def sample_bytes(self) -> int:
        return 2 if self is AudioFormat.PCM else 1

    def milliseconds(self, size: int) -> float:
        """How long so many bytes last."""
        return size / self.sample_bytes / self.rate * 1000

    def decode(self, octets: bytes) -> bytes:
        """s16le of whole samples at `rate`."""
        if self is AudioFormat.PCM:
            return octets
        samples = g711.decode_ulaw(octets) if self is AudioFormat.PCMU else g711.decode_alaw(octets)
        return samples.astype("<i2").tobytes()

    def encode(self, pcm: bytes) -> bytes:
        """The client's bytes for s16le at `rate`."""
        if self is AudioFormat.PCM:
            return pcm
        samples = np.frombuffer(pcm, "<i2").astype(np.int16)
        return g711.encode_ulaw(samples) if self is AudioFormat.PCMU else g711.encode_alaw(samples)

    def shown(self) -> dict[str, Any]:
        """As `session.created` and `session.updated` show it."""
        return {"type": self.value, "rate": 24000} if self is AudioFormat.PCM else {"type": self.value}


_FLAT: Final = {"pcm16": AudioFormat.PCM, "g711_ulaw": AudioFormat.PCMU, "g711_alaw": AudioFormat.PCMA}
_NAMES: Final = {each.value: each for each in AudioFormat} | _FLAT


def asked_format(session: Mapping[str, Any], side: Side) -> AudioFormat | None:
    """The format that a session names for this side; None: none, or one that there is not."""
    given: Any = session.get(f"{side}_audio_format")
    audio = session.get("audio")
    part = audio.get(side) if isinstance(audio, Mapping) else None
    if isinstance(part, Mapping) and part.get("format") is not None:
        given = part["format"]
    if isinstance(given, str):
        return _NAMES.get(given)
    if not isinstance(given, Mapping) or not isinstance(given.get("type"), str):
        return None
    found = _NAMES.get(given["type"])
    rate = given.get("rate")
    fits = rate is None or (type(rate) in (int, float) and math.isfinite(rate) and found and rate == found.rate)
    return found if fits else None


def as_agents_read(session: dict[str, Any]) -> dict[str, Any]:
    """The session with each format in the one shape that agents take: an object with the type of today, without 8000.

    What is no format of ours stays as it is: the agent names what is wrong with it.
    """
    audio = session.get("audio")
    if not isinstance(audio, Mapping):
        return session
    changed = dict(audio)
    for side in ("input", "output"):
        part = audio.get(side)
        found = asked_format({"audio": {side: part}}, side) if isinstance(part, Mapping) else None
        if isinstance(part, Mapping) and found is not None:
            changed[side] = {**part, "format": found.shown()}
    return {**session, "audio": changed}
