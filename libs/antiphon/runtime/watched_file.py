"""A small file that is read again when it changes: a core that is told when to look. No knowledge of keys.

Tools replace such a file in one step. An editor may write in place, so its reader has to refuse half a file by itself.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

SETTLED_SECONDS: Final = 2.0
"""After a change the file is read at each look: two writes within one tick of the file system's clock look alike."""


class WatchedFileError(ValueError):
    """The file can't be read. The text says why, without its path."""


class _Stamp(NamedTuple):
    """What tells a changed file, besides its content. The kernel sets `changed_ns`, and no program can set it back."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class WatchedFile:
    """Owned by the object that uses the content; `read` and `look` may run in any thread, one call at a time."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._stamp: _Stamp | None = None
        self._data: bytes | None = None
        self._changed_at = float("-inf")

    def read(self) -> bytes:
        """The content at start; `WatchedFileError` if there is none."""
        self._stamp = self._stat()
        self._data = self._content()
        return self._data

    def look(self, now: float) -> bytes | None:
        """The content, if it has changed; `WatchedFileError` once when the file can't be read any more."""
        try:
            stamp = self._stat()
            if stamp == self._stamp and now - self._changed_at > SETTLED_SECONDS:
                return None
            if stamp != self._stamp:
                self._changed_at = now
            self._stamp = stamp
            data = self._content()
        except WatchedFileError:
            known, self._stamp, self._data = self._data, None, None
            if known is None:
                return None
            raise
        if data == self._data:
            return None
        self._data = data
        return data

    def _stat(self) -> _Stamp:
        try:
            found = self.path.stat()
        except OSError as error:
            raise WatchedFileError(f"can't be read: {error.strerror}") from None
        return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _content(self) -> bytes:
        try:
            # Without waiting: the open of a FIFO would block for its writer.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise WatchedFileError("can't be read: it is no regular file")
                data = file.read(self._max_bytes + 1)
        except OSError as error:
            raise WatchedFileError(f"can't be read: {error.strerror}") from None
        if len(data) > self._max_bytes:
            raise WatchedFileError(f"has more than {self._max_bytes} bytes")
        return data
