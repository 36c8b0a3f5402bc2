"""How much of a disc recordings may take: a number of bytes for the folder, and room that stays free for others.

When there is no room, no further call is recorded and running recordings end where they are; or, where the operator
has said so, the oldest finished recordings are deleted first.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError
from antiphon.cli.recordings.call_file import PARTS, SUFFIX

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_of(text: str, option: str) -> int:
    """`20G`, `500M`, `1000000`; `UsageError` names the option."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{option} {text!r:.40}: a number of bytes is taken, such as 500M or 20G")
    return int(match[1]) * _UNITS[match[2].upper()]


class DiscLimit:
    """Owner: the recording command; called on its loop every few seconds, not for each message."""

    def __init__(self, folder: Path, most: int, keep_free: int, delete_oldest: bool) -> None:
        self._folder, self._most, self._keep_free = folder, most, keep_free
        self._delete_oldest = delete_oldest
        self.deleted = 0

    def has_room(self) -> bool:
        """Whether more may be written; deletes the oldest recordings first, where that is wanted."""
        files = sorted(self._files(), key=lambda each: each[1])
        used = sum(size for _, _, size in files) + self._running()
        while self._lacks(used):
            if not self._delete_oldest or not files:
                return False
            path, _, size = files.pop(0)
            path.unlink(missing_ok=True)
            self.deleted += 1
            used -= size
        return True

    def _lacks(self, used: int) -> bool:
        return used >= self._most or shutil.disk_usage(self._folder).free < self._keep_free

    def _files(self) -> list[tuple[Path, float, int]]:
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                stat = path.stat()
            except OSError:
                continue  # moved away by somebody just now
            found.append((path, stat.st_mtime, stat.st_size))
        return found

    def _running(self) -> int:
        """Bytes of recordings that are being made; each needs as much again when it is packed."""
        total = 0
        for path in self._folder.glob(f"*{PARTS}/*"):
            try:
                total += 2 * path.stat().st_size
            except OSError:
                continue
        return total
