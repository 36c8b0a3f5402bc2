"""The files of a folder as a bridge and `antiphon agents check` read them: at once, and again whenever one changes.

A change is taken when two looks see the same content: an editor may write in place, and half a file may be a good one.
A folder that is mounted into a container (a config map) changes by a symbolic link; links are followed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from antiphon.inference_bridge.file_agents.definition import MAX_FILE_BYTES
from antiphon.inference_bridge.file_agents.mistakes import Mistake, file_of
from antiphon.inference_bridge.file_agents.reader import (
    MAX_KEY,
    AgentFileError,
    ReadAgent,
    Surroundings,
    read_agent,
)
from antiphon.runtime.watched_file import WatchedFile, WatchedFileError

MAX_AGENTS: Final = 64
"""Files of one folder; further ones are left out, and named."""
_MAX_ENTRIES: Final = 10_000
"""Of the folder, files of other kinds included."""
_ENDING: Final = ".toml"


@dataclass(frozen=True)
class Look:
    """What one look at the folder has found. A value."""

    read: Mapping[str, ReadAgent] = field(default_factory=dict)
    """Files that are new or were changed, by the agent's name."""
    wrong: Mapping[str, list[Mistake]] = field(default_factory=dict)
    """The same, with mistakes: they can't be used."""
    gone: frozenset[str] = frozenset()
    """Names whose files are no longer there."""
    trouble: str = ""
    """What is wrong with the folder as a whole."""


def files_in(directory: Path) -> dict[str, bytes]:
    """The content of each agent's file that can be read, by the agent's name."""
    return AgentFiles(directory, Surroundings()).contents(0.0)


class AgentFiles:
    """The files of one folder. Owned by the source or the command; any thread, one call at a time."""

    def __init__(self, directory: Path, around: Surroundings, look_for_keys: bool = True) -> None:
        """`look_for_keys`: a key that is not there is a mistake."""
        self.directory = directory
        self._around = replace(around, read_key=self._read_key if look_for_keys else None)
        self._files: dict[str, WatchedFile] = {}
        self._data: dict[str, bytes] = {}
        """What was read last of each file, with or without mistakes."""
        self._pending: dict[str, bytes] = {}
        """Changes that the next look has to see again."""
        self._absent: set[str] = set()
        """Names whose files the last look did not find."""
        self._keys: dict[Path, WatchedFile] = {}

    def read(self, now: float) -> Look:
        """All files as they are. `now`: seconds of any clock, as for `look`."""
        return self._look(now, at_once=True)

    def look(self, now: float) -> Look:
        """What has changed since the last look."""
        return self._look(now, at_once=False)

    def contents(self, now: float) -> dict[str, bytes]:
        """All files as they are, read and not checked; none of a folder that can't be read."""
        with contextlib.suppress(OSError):
            for name in self._names()[0]:
                with contextlib.suppress(WatchedFileError):
                    if (data := self._content(name, now)) is not None:
                        self._data[name] = data
        return dict(self._data)

    def _look(self, now: float, at_once: bool) -> Look:
        try:
            names, left_out = self._names()
        except OSError as error:
            return Look(trouble=f"the folder {self.directory} can't be read: {error.strerror}")
        wrong: dict[str, list[Mistake]] = {}
        changed: set[str] = set()
        for name in names:
            try:
                data = self._content(name, now)
            except WatchedFileError as error:
                self._pending.pop(name, None)
                wrong[name] = [Mistake(file_of(name), 1, "", "", str(error))]
                continue
            if data is not None:
                self._pending[name] = data
            if name in self._pending and (data is None or at_once):
                self._data[name] = self._pending.pop(name)
                changed.add(name)
        gone = self._gone(names, at_once)
        if self._keys_changed(now):
            changed |= {name for name, data in self._data.items() if b"key_file" in data}
        read: dict[str, ReadAgent] = {}
        for name in sorted(changed):
            try:
                read[name] = read_agent(name, self._data[name], self._around)
            except AgentFileError as error:
                wrong[name] = error.mistakes
        trouble = ""
        if left_out:
            trouble = f"{self.directory} has more than {MAX_AGENTS} agents: {left_out} and others are left out"
        return Look(read, wrong, gone, trouble)

    def _names(self) -> tuple[list[str], str]:
        """The agents' names, those that are known first; and a file that is left out because there are too many."""
        found = []
        with os.scandir(self.directory) as entries:
            for number, entry in enumerate(entries):
                if number >= _MAX_ENTRIES:
                    break
                if entry.name.endswith(_ENDING) and not entry.name.startswith("."):
                    found.append(entry.name.removesuffix(_ENDING))
        found.sort(key=lambda name: (name not in self._data, name))
        return found[:MAX_AGENTS], file_of(found[MAX_AGENTS]) if len(found) > MAX_AGENTS else ""

    def _content(self, name: str, now: float) -> bytes | None:
        """The content, if it has changed; `WatchedFileError` once."""
        if (file := self._files.get(name)) is not None:
            return file.look(now)
        file = self._files[name] = WatchedFile(self.directory / f"{name}{_ENDING}", MAX_FILE_BYTES)
        return file.read()

    def _gone(self, names: list[str], at_once: bool) -> frozenset[str]:
        """Names without a file in this look and the one before: some editors move a file away and write another."""
        absent = self._files.keys() - set(names)
        gone = absent if at_once else absent & self._absent
        self._absent = absent - gone
        for name in gone:
            del self._files[name]
            self._data.pop(name, None)
            self._pending.pop(name, None)
        return frozenset(gone)

    def _read_key(self, path: str) -> str:
        whole = self.directory / path
        if len(self._keys) > 2 * MAX_AGENTS and whole not in self._keys:
            self._keys.clear()  # of files that name others by now; they are read again when theirs are
        file = self._keys[whole] = WatchedFile(whole, MAX_KEY)
        return file.read().decode("ascii", "replace")

    def _keys_changed(self, now: float) -> bool:
        changed = False
        for file in self._keys.values():
            try:
                changed = file.look(now) is not None or changed
            except WatchedFileError:
                changed = True
        return changed
