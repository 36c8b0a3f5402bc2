"""The addresses that a session knows of its client, and how many bytes each may get before it is proved. Sans-IO.

An address that has only sent something is not proved: a caller can write any source address into a check, and an
observer can send one on that it has kept from us. Such an address gets at most as many bytes as came from it (as
RFC 9000 section 8 has it for QUIC) until a packet from there is authentic that no observer can have: newer than all
before it, the last one of the handshake, or the answer to a check of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_PATHS: Final = 8
"""Client addresses kept; of those that were never checked the one not used for longest goes first, then of the rest."""
MAX_UNCHECKED: Final = 2
"""Of them, addresses from which media came and no check."""
HANDSHAKE_CREDIT: Final = 12288
"""Bytes beyond their own that the addresses of a call get together before its handshake is done: each of our flights
(0.2 and 0.7 kB) and its twelve repetitions. 2.2 kB of these go to an address whose client never answers. A check from
there has shown, by its MESSAGE-INTEGRITY, that its sender has our answer: RFC 9147 section 5.1 asks for no cookie then.
"""


@dataclass(slots=True)
class ClientAddress:
    """One of them."""

    used_at: float
    """When its last check came; for one without, its last packet."""
    credit: int
    """Bytes that it may get while it is not proved."""
    proved: bool
    checked: bool = True
    """A check came from it, or it has answered one of ours."""
    witnessed: bool = False
    """The client has read there what was sent nowhere else: nobody else has written its address."""


class ClientAddresses:
    """By tunnel header. Owner: the `IceLite` of the session; event loop only."""

    def __init__(self) -> None:
        self._known: dict[bytes, ClientAddress] = {}
        self._handshake_credit = HANDSHAKE_CREDIT
        self.get = self._known.get

    def __contains__(self, header: bytes) -> bool:
        return header in self._known

    @property
    def headers(self) -> tuple[bytes, ...]:
        return tuple(self._known)

    def resume(self, current: bytes, aliases: tuple[bytes, ...], now: float) -> None:
        """Those of the process that had the session before; `current` is proved."""
        for header in aliases[: MAX_PATHS - 1]:
            self._known[header] = ClientAddress(now, 0, proved=False)
        self._known[current] = ClientAddress(now, 0, proved=True, witnessed=True)
        self._handshake_credit = 0

    def note(self, header: bytes, size: int, now: float, keep: bytes, checked: bool) -> ClientAddress:
        """So many bytes came from it: a check, or media from an address that is new. `keep` never makes room."""
        address = self._known.pop(header, None) or ClientAddress(now, 0, proved=False, checked=checked)
        address.checked = address.checked or checked
        address.used_at = now
        address.credit += size
        unchecked = [each for each, known in self._known.items() if not known.checked and each != keep]
        if not checked and len(unchecked) >= MAX_UNCHECKED:
            del self._known[min(unchecked, key=self._used_at)]
        elif len(self._known) >= MAX_PATHS:
            del self._known[min(unchecked or (each for each in self._known if each != keep), key=self._used_at)]
        self._known[header] = address
        return address

    def _used_at(self, header: bytes) -> float:
        return self._known[header].used_at

    def remove(self, header: bytes) -> None:
        self._known.pop(header, None)

    def end_handshake(self) -> None:
        """What comes from now on is authentic: nothing more is given in advance."""
        self._handshake_credit = 0

    def may_send(self, header: bytes, size: int) -> bool:
        """Whether this address may get so many bytes; they are taken from its credit, or from the handshake's."""
        address = self._known.get(header)
        if address is None:
            return False
        if address.proved:
            return True
        if address.credit >= size:
            address.credit -= size
        elif self._handshake_credit >= size:
            self._handshake_credit -= size
        else:
            return False
        return True
