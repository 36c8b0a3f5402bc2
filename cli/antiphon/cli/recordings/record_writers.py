"""What `antiphon record` makes of a call: one file of its own kind, or a WAV file with lines beside it."""

from __future__ import annotations

import contextlib
import time
import wave
from pathlib import Path
from typing import IO, Final, Protocol

from antiphon.cli.recordings.call_file import CallFile

MAX_HELD: Final = 64
"""Messages of a call that wait for the first audio of its caller."""


class Writer(Protocol):
    """What is made of one call. Owned by `Tap`, until `close`; called on its loop."""

    path: Path

    def agent(self, name: str) -> None:
        """The agent that has the call."""

    def message(self, kind: str, data: bytes, line: str, at: float | None) -> None:
        """A message of the session, and it as a line of the time line; empty for audio.

        `at`: Unix time by the clock of the call's transceiver; None: that one is not known yet.
        """

    def owner(self, kind: str, data: bytes) -> None:
        """`timeline` or `ended`, from the call's owner."""

    def audio(self, pcm: bytes, rate: int, began: float) -> None:
        """More sound of both sides."""

    def flush(self) -> None:
        """Write out what is waiting."""

    def close(self, ended: bool, at: float) -> None:
        """Finish, at this Unix time of the transceiver's. `ended`: the call did; else the recorder stops before."""

    def abandon(self) -> None:
        """Let go of the files as they are: the disc takes no more."""


class WavWriter:
    """A stereo WAV file and a file of lines beside it."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.path = folder / f"{session_id}.wav"
        self._wave: wave.Wave_write | None = None
        self._lines: IO[str] = (folder / f"{session_id}.jsonl").open("w", encoding="utf-8")

    def agent(self, name: str) -> None:
        pass

    def message(self, kind: str, data: bytes, line: str, at: float | None) -> None:
        if line:
            self._lines.write(line + "\n")

    def owner(self, kind: str, data: bytes) -> None:
        pass

    def audio(self, pcm: bytes, rate: int, began: float) -> None:
        if pcm and self._wave is None:
            self._wave = wave.open(str(self.path), "wb")  # noqa: SIM115 - open for as long as the call
            self._wave.setnchannels(2)
            self._wave.setsampwidth(2)
            self._wave.setframerate(rate)
        if pcm and self._wave is not None:
            self._wave.writeframesraw(pcm)

    def flush(self) -> None:
        self._lines.flush()

    def close(self, ended: bool, at: float) -> None:
        if self._wave is not None:
            self._wave.close()
        self._lines.close()

    def abandon(self) -> None:
        for file in (self._wave, self._lines):
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()


class CallFileWriter:
    """One `.antiphon` file."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self._file = CallFile(folder, session_id, time.time())
        self.path = self._file.path
        self._held: list[tuple[str, bytes]] = []
        """Messages that came before the first audio of the caller: by which clock it goes is not known yet."""

    def agent(self, name: str) -> None:
        self._file.agent(name)

    def message(self, kind: str, data: bytes, line: str, at: float | None) -> None:
        if line:
            self._file.message(line)
            self._held.append((kind, data))
        if at is not None or len(self._held) > MAX_HELD:
            self._write_held(at)

    def _write_held(self, at: float | None) -> None:
        held, self._held = self._held, []
        for kind, data in held:
            self._file.entries(self._file.timeline.session(kind, data, time.time() if at is None else at))

    def owner(self, kind: str, data: bytes) -> None:
        if kind == "ended":
            self._file.timeline.ended(data)
        else:
            self._file.entries(self._file.timeline.owner(data))

    def audio(self, pcm: bytes, rate: int, began: float) -> None:
        self._file.audio(pcm, rate, began)

    def flush(self) -> None:
        self._file.flush()

    def end_for_disc(self) -> None:
        """The disc is full: nothing more is written."""
        self._file.cut = "disc"

    def close(self, ended: bool, at: float) -> None:
        self._write_held(at)
        self._file.close(at if ended else None)

    def abandon(self) -> None:
        self._file.abandon()
