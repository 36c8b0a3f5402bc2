"""The keys of the clusters that a transceiver keeps copies of: the file `ANTIPHON_COPY_OF_FILE`, in TOML.

    [1]
    password_key = "<hex digits>"
    announce_key = "<64 hex digits>"

The head of each table is the number of a cluster. `antiphon keys --copy-of FILE --cluster NUMBER` writes it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antiphon.runtime.private_file import is_private
from antiphon.schemas.messages import SlotMoved
from antiphon.schemas.slot_moves import AnnouncementKey, SlotMove

VARIABLE: Final = "ANTIPHON_COPY_OF_FILE"
MIN_KEY: Final = 16
"""Bytes of a password key, as of our own."""


@dataclass(frozen=True)
class ForeignCluster:
    """A cluster whose calls go on here when it is lost. A value."""

    cluster: int
    password_key: bytes
    """Its ICE passwords and its copies go by it."""
    announcement_key: AnnouncementKey
    """Signs that its calls have moved here."""

    def signed(self, move: SlotMove) -> SlotMoved:
        """The announcement that calls of this cluster go on elsewhere."""
        (cluster, slot, epoch), (to_cluster, to_slot, to_epoch) = move.old, move.new
        return SlotMoved(
            cluster=cluster,
            slot=slot,
            epoch=epoch,
            to_cluster=to_cluster,
            to_slot=to_slot,
            to_epoch=to_epoch,
            made_at=move.made_at,
            signature=self.announcement_key.sign(move),
        )


def read_keys(file: Path, own_cluster: int) -> dict[int, ForeignCluster]:
    """By cluster. ValueError names what is wrong with the file, and shows no key."""
    try:
        if not is_private(file.stat()):
            raise ValueError(f"{VARIABLE} {file} may be read by others: chmod 400 it, it holds the keys of calls")
        tables = tomllib.loads(file.read_text())
    except OSError as error:
        raise ValueError(f"{VARIABLE} {file} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ValueError(f"{VARIABLE} {file} is no TOML file: write a table [<cluster>] for each cluster") from None
    if not tables:
        raise ValueError(f"{VARIABLE} {file} names no cluster: write a table [<cluster>] for each")
    return {each.cluster: each for each in (_cluster(file, name, own_cluster, tables[name]) for name in tables)}


def _cluster(file: Path, name: str, own_cluster: int, table: object) -> ForeignCluster:
    where = f"{VARIABLE} {file}, [{name}]"
    if not name.isascii() or not name.isdigit() or int(name) >= 1 << 12 or not isinstance(table, dict):
        raise ValueError(f"{where}: a table is named after its cluster, 0 to 4095")
    if int(name) == own_cluster:
        raise ValueError(f"{where}: this is our own cluster (ANTIPHON_CLUSTER): name those that we keep copies of")
    unknown = set(table) - {"password_key", "announce_key"}
    if unknown:
        raise ValueError(f"{where}: {sorted(unknown)[0]!r:.40} is no key of it: password_key, announce_key")
    try:
        password = bytes.fromhex(str(table.get("password_key", "")))
    except ValueError:
        raise ValueError(f"{where}: password_key is not written as hex digits") from None
    if len(password) < MIN_KEY:
        raise ValueError(f"{where}: password_key is missing, or has fewer than {MIN_KEY} bytes")
    try:
        announcement = AnnouncementKey.from_text(str(table.get("announce_key", "")))
    except ValueError as error:
        raise ValueError(f"{where}: announce_key: {error}") from None
    return ForeignCluster(int(name), password, announcement)
