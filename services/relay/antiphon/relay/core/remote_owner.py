"""The owner of a flow in another cluster, as the flow table holds it: 8 octets, like a transceiver's IPv4 address.

    2   0xfb 0x3f in place of an address family
    2   slot, 2 epoch: at the same place as in the route of a backbone header, so that columns compare them
    2   cluster

So one table holds both kinds, and a packet loop tells them apart by the first 16 bits.
"""

from __future__ import annotations

import struct
from typing import Final

Identity = tuple[int, int, int]
"""(cluster, slot, epoch)."""

MARK: Final = b"\xfb\x3f"
"""No address family has this number, and bits 14 and 15 are clear."""
_MARK_VALUE: Final = int.from_bytes(MARK, "little")
_LAYOUT: Final = struct.Struct(">2sHHH")


def owner_elsewhere(identity: Identity) -> int:
    """The owner that stands for a transceiver of another cluster."""
    cluster, slot, epoch = identity
    return int.from_bytes(_LAYOUT.pack(MARK, slot, epoch, cluster), "little")


def is_elsewhere(owner: int) -> bool:
    """Whether this owner is a transceiver of another cluster."""
    return owner & 0xFFFF == _MARK_VALUE


def identity_of(owner: int) -> Identity:
    """The inverse of `owner_elsewhere`."""
    _, slot, epoch, cluster = _LAYOUT.unpack(owner.to_bytes(8, "little"))
    return cluster, slot, epoch
