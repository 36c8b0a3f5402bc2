"""What became of a speech, and its audio cut into frames. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.schemas.audio import RATES


@dataclass(frozen=True)
class Played:
    """What of a speech was played to the caller."""

    samples: int
    """At the speech's rate, exact when the transceiver has reported it (`confirmed`)."""
    rate: int
    """Hz: the speech's."""
    text: str
    """The words of which at least half was played, as they were written."""
    complete: bool
    """All that was written was played."""
    confirmed: bool = True
    """False: the transceiver did not answer, and `samples` is reckoned from the clock."""

    @property
    def seconds(self) -> float:
        """`samples` as time."""
        return self.samples / self.rate


class Framer:
    """PCM of any length to frames of 20 ms; the last one is kept back, because it may be the end of the speech."""

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise ValueError(f"speech at {rate} Hz: expected one of {', '.join(map(str, RATES))}")
        self.size = rate // 50 * 2
        self._rest = bytearray()

    def push(self, pcm: bytes) -> list[bytes]:
        """s16le mono; ValueError for half a sample."""
        if len(pcm) % 2:
            raise ValueError(f"speech of {len(pcm)} bytes: samples of 16 bits come in pairs of bytes")
        self._rest += pcm
        full = max(0, (len(self._rest) - 1) // self.size)
        frames = [bytes(self._rest[at * self.size : (at + 1) * self.size]) for at in range(full)]
        del self._rest[: full * self.size]
        return frames

    def end(self) -> bytes | None:
        """The last frame, filled up with silence; None if nothing was written."""
        if not self._rest:
            return None
        last = bytes(self._rest) + bytes(self.size - len(self._rest))
        self._rest.clear()
        return last
