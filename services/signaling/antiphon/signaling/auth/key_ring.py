"""The API keys that count now: the list of the settings, and the file, which is read again when it changes.

A file that has changed and can't be used leaves the keys as they are, and is named once in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from antiphon.runtime.api_keys import (
    MAX_FILE_BYTES,
    ApiKey,
    KeyFileError,
    KeyTable,
    is_document,
    keys_of_list,
    read_document,
)
from antiphon.runtime.watched_file import WatchedFile, WatchedFileError

log = logging.getLogger(__name__)


class KeyRing:
    """The keys that count now.

    Made by `create_app` and kept as long as the application. Handlers look keys up on the event loop.
    """

    def __init__(self, texts: Sequence[str], path: Path | None = None) -> None:
        """`texts`: keys of the settings. `path`: the file; ValueError names it if it can't be used."""
        self._listed = keys_of_list(texts)
        self._file = WatchedFile(path, MAX_FILE_BYTES) if path is not None else None
        self.listed_in_file = False
        """The file is a plain list of keys in clear, as it was before there was another format."""
        self.table = KeyTable(self._listed + self._first_read())
        """All keys. Another table takes its place in one step when the file has changed."""

    @property
    def open(self) -> bool:
        """No keys are wanted: every client may call. Never so with a file, even when its last key is revoked."""
        return not self._listed and self._file is None

    def still_holds(self, key: ApiKey) -> bool:
        """Whether a key that was found before counts still: not revoked, not expired, with the scopes that it had."""
        now_known = self.table.by_id(key.id, time.time())
        return now_known is not None and now_known.hash == key.hash and now_known.scopes >= key.scopes

    def look(self, now: float) -> None:
        """Read the file if it has changed. Any thread, one call at a time."""
        if self._file is None:
            return
        try:
            data = self._file.look(now)
            keys = None if data is None else _document_only(data)
        except (WatchedFileError, KeyFileError) as error:
            log.error("ANTIPHON_API_KEYS_FILE %s: %s; the keys stay as they were", self._file.path, error)
            return
        if keys is not None:
            self.listed_in_file = False
            self.table = KeyTable(self._listed + keys)
            log.info("ANTIPHON_API_KEYS_FILE %s was read again: %d keys", self._file.path, len(keys))

    def _first_read(self) -> list[ApiKey]:
        if self._file is None:
            return []
        try:
            data = self._file.read()
            if is_document(data):
                return read_document(data)
            self.listed_in_file = True
            keys = keys_of_list(texts_of_list(data))
        except (WatchedFileError, KeyFileError) as error:
            raise ValueError(f"ANTIPHON_API_KEYS_FILE {self._file.path}: {error}") from None
        if not keys:
            way_out = 'make one with `antiphon api-keys add`, or write {"version": 1, "keys": []}'
            raise ValueError(f"ANTIPHON_API_KEYS_FILE {self._file.path} holds no key: {way_out}")
        return keys


def _document_only(data: bytes) -> list[ApiKey]:
    """A plain list is read at start only: half a list is a list as well, and half a key a key."""
    if not is_document(data):
        raise KeyFileError("it is no JSON document (see antiphon api-keys), and a plain list is read at start only")
    return read_document(data)


def texts_of_list(data: bytes) -> list[str]:
    """The keys of a plain list: one per line or separated by commas."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise KeyFileError("it is no UTF-8 text") from None
    return list(dict.fromkeys(filter(None, (key.strip() for key in text.replace("\n", ",").split(",")))))
