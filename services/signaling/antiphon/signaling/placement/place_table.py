"""Where addresses are, by a table in MaxMind's format that the operator names. None is shipped.

The whole file is read into memory: a mapped file that is cut short while it is written would end the process (SIGBUS).
A file that has changed and can't be used leaves the old table in place, and is named once in the log.
"""

from __future__ import annotations

import io
import ipaddress
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import maxminddb

from antiphon.runtime.watched_file import WatchedFile, WatchedFileError
from antiphon.signaling.placement.geography import Coordinates, checked, coordinates_of

log = logging.getLogger(__name__)

MAX_BYTES: Final = 1 << 30
"""Of the file. Tables of cities have 50 to 150 MB."""
LOOK_SECONDS: Final = 5.0
"""Between two looks at the file: each one after a change reads all of it."""
PROBED: Final = 1000
"""Records in which a table has to show a place: one of countries or networks alone has none in any."""


class PlaceTableError(ValueError):
    """The file is no table that can be used. The text says why, without its path."""


class PlaceTable:
    """The table of `ANTIPHON_PLACE_TABLE`.

    Made by the process and kept as long as that. Handlers look addresses up on the event loop; `look` runs in a thread.
    """

    def __init__(self, path: Path) -> None:
        """ValueError names the file if it can't be used."""
        self._file = WatchedFile(path, MAX_BYTES)
        self._looked_at = float("-inf")
        self._broken = False
        try:
            self._reader = read_table(self._file.read())
        except (WatchedFileError, PlaceTableError) as error:
            raise ValueError(f"ANTIPHON_PLACE_TABLE {path}: {error}") from None

    def look(self, now: float) -> None:
        """Read the file if it has changed. Any thread, one call at a time."""
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            data = self._file.look(now)
            if data is None:
                return
            self._reader = read_table(data)  # in one step: a look-up has the old one or this one
        except (WatchedFileError, PlaceTableError) as error:
            log.error("ANTIPHON_PLACE_TABLE %s: %s; the table stays as it was", self._file.path, error)
            return
        self._broken = False
        log.info("ANTIPHON_PLACE_TABLE %s was read again", self._file.path)

    def find(self, host: str) -> Coordinates | None:
        """Where an address is; None where the table does not say, or for what is no address."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        try:
            return _place_of(self._reader.get(address))
        except ValueError as error:  # IPv6 in a table of IPv4: no fault
            log.debug("the table of places: %s", type(error).__name__)
        except Exception as error:  # a damaged record, in whatever way: the call goes on without it
            if not self._broken:
                self._broken = True
                log.error("ANTIPHON_PLACE_TABLE %s is damaged: %s", self._file.path, type(error).__name__)
        return None


def read_table(data: bytes) -> maxminddb.Reader:
    """A reader of the table in memory; `PlaceTableError` for what is none, or holds no places."""
    if not data:
        raise PlaceTableError("is empty")
    try:
        # The reader in C maps files only; this one takes what is in memory.
        reader = maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD)
        if not any(_place_of(record) for _, record in itertools.islice(reader, PROBED)):
            kind = reader.metadata().database_type
            raise PlaceTableError(
                f"holds no places in {PROBED} records (its type is {kind!r:.60}): it takes one of cities"
            )
    except PlaceTableError:
        raise
    except Exception as error:  # what a damaged file makes the reader raise is not listed anywhere
        raise PlaceTableError(f"is no table in MaxMind's format ({type(error).__name__})") from None
    return reader


def _place_of(record: Any) -> Coordinates | None:
    """`location: {latitude, longitude}` (MaxMind, DB-IP), the same at the top, or `lat`, `lng` (IPinfo)."""
    if not isinstance(record, Mapping):
        return None
    inner = record.get("location")
    for fields in (inner if isinstance(inner, Mapping) else {}, record):
        for names in (("latitude", "longitude"), ("lat", "lng")):
            latitude, longitude = (fields.get(name) for name in names)
            if isinstance(latitude, str) and isinstance(longitude, str):
                return coordinates_of(latitude, longitude)
            if latitude is not None and longitude is not None:
                return checked(latitude, longitude)
    return None
