"""One recorded call as one file, `<id>.antiphon`: a zip archive of its sound, its time line and its messages.

While the call runs its parts grow in a folder `<id>.parts`; `close` packs them. A recorder that was killed leaves the
folder, and `finish_left` packs it at the next start. docs/console.md describes the format.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np

from antiphon.cli.recordings.ogg_opus import OggWriter
from antiphon.cli.recordings.recorded_timeline import RecordedTimeline

SUFFIX: Final = ".antiphon"
PARTS: Final = ".parts"
FORMAT: Final = "antiphon recording"
VERSION: Final = 1
AUDIO, PEAKS, TIMELINE, RAW, HEAD = "audio.ogg", "peaks.u8", "timeline.jsonl", "messages.jsonl", "call.json"
MAX_SECONDS: Final = 6 * 3600.0
"""Sound of one call; the rest of a longer one is left out."""
MAX_RAW_BYTES: Final = 64 << 20
"""Messages of one call, likewise."""
Cut = Literal["", "disc", "length", "recorder"]
"""Why the file ends before the call: the disc's limit, `MAX_SECONDS`, the recorder was stopped or killed."""


class CallFile:
    """The parts of one call that is being recorded. Owner: the recording command's `Tap`; called on its loop."""

    def __init__(self, folder: Path, session_id: str, now: float) -> None:
        self.path = folder / f"{session_id}{SUFFIX}"
        self.timeline = RecordedTimeline()
        self.cut: Cut = "recorder"
        """Until the call has ended: what a recorder leaves that is killed."""
        self._parts = folder / f"{session_id}{PARTS}"
        self._parts.mkdir(mode=0o700, exist_ok=True)
        self._ogg: OggWriter | None = None
        self._head: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "session_id": session_id,
            "began": now,
            "agents": [],
            "antiphon": importlib.metadata.version("antiphon"),
        }
        self._samples = self._raw_bytes = 0
        self._rest = b""
        """Less than 20 ms of sound that has no peak yet."""
        self._open: dict[str, IO[bytes]] = {
            name: (self._parts / name).open("wb") for name in (AUDIO, PEAKS, TIMELINE, RAW)
        }
        self._write_head()

    def agent(self, name: str) -> None:
        """The call is with this agent now."""
        if name not in self._head["agents"] and len(self._head["agents"]) < 64:
            self._head["agents"].append(name)

    def message(self, line: str) -> None:
        """A message of the session as one line of JSON."""
        data = line.encode() + b"\n"
        if not self.is_cut and self._raw_bytes + len(data) <= MAX_RAW_BYTES:
            self._raw_bytes += len(data)
            self._open[RAW].write(data)

    def entries(self, lines: Sequence[str]) -> None:
        """Entries of the time line."""
        if lines and not self.is_cut:
            self._open[TIMELINE].write("".join(f"{line}\n" for line in lines).encode())

    def audio(self, pcm: bytes, rate: int, began: float) -> None:
        """More sound of both sides, s16le; `began`: Unix time of the call's first sample."""
        if not pcm or self.is_cut:
            return
        if self._ogg is None:
            self._ogg = OggWriter(rate)
            self._head |= {"began": began, "audio_began": began, "rate": rate}
            self._write_head()
            self._open[AUDIO].write(self._ogg.begin())
        self._samples += len(pcm) // 4
        self._open[AUDIO].write(self._ogg.add(pcm))
        pcm = self._rest + pcm
        whole = len(pcm) // (rate // 50 * 4) * (rate // 50 * 4)
        self._rest = pcm[whole:]
        self._open[PEAKS].write(_peaks(pcm[:whole], rate))
        if self._samples > MAX_SECONDS * rate:
            self.cut = "length"

    @property
    def is_cut(self) -> bool:
        """Nothing more is written."""
        return self.cut in ("disc", "length")

    def flush(self) -> None:
        """What was written reaches the disc's cache: a recorder that is killed then does not lose it."""
        for file in self._open.values():
            file.flush()

    def close(self, ended: float | None) -> None:
        """Pack the parts. `ended`: when the call ended; None: the recorder stops before."""
        self.entries(self.timeline.rest())
        if self._ogg is not None:
            self._open[AUDIO].write(self._ogg.end())
        for file in self._open.values():
            file.close()
        if ended is not None and self.cut == "recorder":
            self.cut = ""
        seconds = self._samples / self._ogg.rate if self._ogg is not None else 0.0
        self._head |= {
            "ended": ended,
            "reason": self.timeline.reason,
            "cause": self.timeline.cause,
            "call": self.timeline.summary,
            "began": self.timeline.summary["began"] if self.timeline.summary else self._head["began"],
            "audio_seconds": round(seconds, 3),
            "missed_entries": self.timeline.missed,
        }
        self._write_head()
        _pack(self._parts, self.path)

    def abandon(self) -> None:
        """Let go of the parts as they are: the disc takes no more, and `finish_left` packs them."""
        for file in self._open.values():
            with contextlib.suppress(OSError):
                file.close()

    def _write_head(self) -> None:
        (self._parts / HEAD).write_text(json.dumps({**self._head, "cut": self.cut}), "utf-8")


def _peaks(pcm: bytes, rate: int) -> bytes:
    """The loudest sample of each side in each 20 ms, 0 to 255: the picture of the sound, without decoding it."""
    samples = np.abs(np.frombuffer(pcm, dtype="<i2").astype(np.int32))
    loudest = samples.reshape(-1, rate // 50, 2).max(axis=1)
    return bytes(np.minimum(loudest >> 7, 255).astype(np.uint8).tobytes())


def finish_left(folder: Path) -> list[Path]:
    """Pack what a recorder that was killed has left in this folder; the files that are there by it."""
    found = []
    for parts in sorted(folder.glob(f"*{PARTS}")):
        if parts.is_dir() and (parts / HEAD).is_file():
            path = folder / f"{parts.name.removesuffix(PARTS)}{SUFFIX}"
            _pack(parts, path)
            found.append(path)
    return found


def _pack(parts: Path, path: Path) -> None:
    """All or nothing: the name is there once the file is whole. Sound is stored as it is, so that pages can seek."""
    partial = path.with_suffix(".tmp")
    with zipfile.ZipFile(partial, "w", allowZip64=False) as archive:
        for name in (HEAD, TIMELINE, RAW, PEAKS, AUDIO):
            if (parts / name).is_file() and (name == HEAD or (parts / name).stat().st_size):
                packed = zipfile.ZIP_STORED if name in (AUDIO, PEAKS) else zipfile.ZIP_DEFLATED
                archive.write(parts / name, name, packed)
    partial.chmod(0o600)
    os.replace(partial, path)
    shutil.rmtree(parts, ignore_errors=True)


class RecordingFileError(ValueError):
    """This is no recording, or a damaged one."""


def read_part(path: Path, name: str, most: int) -> bytes:
    """One part of a recording, empty if it has none; `RecordingFileError` for another file or too long a part."""
    try:
        with zipfile.ZipFile(path) as archive:
            head = json.loads(_content(archive, HEAD, 1 << 20))
            if not isinstance(head, dict) or head.get("format") != FORMAT:
                raise RecordingFileError("its call.json does not say that it is a recording of antiphon record")
            if head.get("version") != VERSION:
                raise RecordingFileError(f"its format has another version than {VERSION}, which is read here")
            return _content(archive, name, most) if name in archive.namelist() else b""
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, RecordingFileError):
            raise
        raise RecordingFileError(f"it is no recording of antiphon record, or a damaged one ({error})") from None


def _content(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as part:
        data = part.read(most + 1)
    if len(data) > most:
        raise RecordingFileError(f"its {name} has more than {most} bytes, which is all that is read")
    return data
