"""An ICE-lite agent (RFC 8445 section 2.5) for one session: which paths are checked, which one answers take.

We never send checks. A path is (tunnel header, relay): the client's address as the relay saw it, and that relay. The
header of a client that entered by a relay of another place also names that one: by another ingress, the same client is
at another address here. The relay between can change without the client: it is followed with any authentic packet.
Answers follow the newest authenticated packet on a checked path, not only nomination: when a relay fails, this saves
the seconds until the next check. Sans-IO.

An address that has only sent checks is not proved: a caller can write any source address into a check, and an observer
can send one on that it has kept from us. Such an address gets at most as many bytes as came from it (as RFC 9000
section 8 has it for QUIC), and what is beyond is dropped, until a packet from there is authentic that no observer can
have: newer than all before it, or the last one of the handshake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from antiphon.rtc import stun
from antiphon.schemas import MalformedError, backbone
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.ice.seen_checks import SeenChecks

MAX_PATHS: Final = 8
"""Client addresses kept as checked; the one not used for longest goes first."""
HANDSHAKE_CREDIT: Final = 12288
"""Bytes beyond their own that the addresses of a call get together before its handshake is done: each of our flights
(0.2 and 0.7 kB) and its twelve repetitions. 2.2 kB of these go to an address whose client never answers. A check from
there has shown, by its MESSAGE-INTEGRITY, that its sender has our answer: RFC 9147 section 5.1 asks for no cookie then.
"""
IN_USE: Final = 2.0
"""Seconds after a packet in which its address stays with its call: a caller that writes another's address into a check
would take that one's packets. A client that calls anew from the same address has stopped its former call, and repeats
its check."""


class Path(NamedTuple):
    """Where a client is, and through which relay."""

    header: bytes
    """8 or 20 bytes; 16 or 28 where the client entered by a relay of another place."""
    relay: tuple[str, int]

    @property
    def route(self) -> backbone.Route | None:
        """The way behind that relay; None if the client entered there. `MalformedError` if it can't be read."""
        if not self.header[1] & backbone.BACKBONE_BIT >> 8:
            return None
        if self.header[-1] & backbone.TAG_FLAG:
            raise MalformedError("a header with the flag of a tag came from a relay: it has to take that away")
        return backbone.route_of(self.header)


@dataclass(slots=True)
class _ClientAddress:
    """An address that has passed a check."""

    checked_at: float
    credit: int
    """Bytes that it may get while it is not proved."""
    proved: bool


class IceLite:
    """Checks and paths of one session, which owns it for its whole life and calls it on the event loop only."""

    def __init__(
        self,
        password_key: bytes,
        ufrags: list[str],
        seen_checks: Sequence[bytes] = (),
        foreign_keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """`seen_checks`: those of the process that had the session before. `foreign_keys`: the password keys of ufrags
        that another cluster made."""
        self.path: Path | None = None
        """Where answers go; None before the first authenticated check."""
        self.limited = True
        """The address of `path` is not proved: `may_send` has to be asked for each packet."""
        self.last_received = 0.0
        """When the last authenticated packet arrived: consent (RFC 7675) as a server sees it."""
        self._used_at = float("-inf")
        """When the last authenticated packet arrived that was no check."""
        self.replayed = 0
        """Authentic checks that were replays."""
        self.withheld = 0
        """Packets that were not sent to an address that is not proved."""
        self._password_key = password_key
        keys = foreign_keys or {}
        self._passwords = {ufrag: ice_password(keys.get(ufrag, password_key), ufrag).encode() for ufrag in ufrags}
        self._checked: dict[bytes, _ClientAddress] = {}
        self._handshake_credit = HANDSHAKE_CREDIT
        self._seen = SeenChecks(seen_checks)

    def resume(self, path: Path, now: float, aliases: Sequence[bytes] = ()) -> None:
        """Continue with the path of another process. `aliases`: other headers that mean the same client."""
        for header in aliases[: MAX_PATHS - 1]:
            self._checked[header] = _ClientAddress(now, 0, proved=False)
        self.path, self.limited, self._handshake_credit = path, False, 0
        self._checked[path.header] = _ClientAddress(now, 0, proved=True)
        self.last_received = now

    def restart(self, ufrag: str) -> None:
        """Accept checks to one more ufrag (RFC 8445 section 9): the path stays until the new one is checked."""
        self._passwords[ufrag] = ice_password(self._password_key, ufrag).encode()

    def forget(self, ufrag: str) -> None:
        """Accept no more checks to this ufrag."""
        self._passwords.pop(ufrag, None)

    @property
    def headers(self) -> tuple[bytes, ...]:
        """The client addresses that passed a check."""
        return tuple(self._checked)

    def seen_checks(self) -> list[bytes]:
        """For the next process: it must not take what was received here for new."""
        return self._seen.export()

    def check(
        self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float
    ) -> bytes | None:
        """The answer to an authentic check; None, and no answer, to a replay and to one without the password.

        A repetition is answered and changes nothing else: an observer that is on the client's side of the same NAT
        could send it as well.
        """
        password = self._passwords.get(request.local_ufrag)
        if password is None or not stun.is_authentic(datagram, request, password):
            return None
        verdict = self._seen.judge(request.transaction_id, path.header, now)
        if verdict == "replayed" or (verdict == "repeated" and path.header not in self._checked):
            self.replayed += 1
            return None
        response = stun.pack_binding_success(request.transaction_id, client, password)
        if verdict == "new":
            self._note_check(request, path, len(datagram), now)
        self._checked[path.header].credit -= len(response)
        return response

    def _note_check(self, request: stun.BindingRequest, path: Path, size: int, now: float) -> None:
        address = self._checked.pop(path.header, None) or _ClientAddress(now, 0, proved=False)
        address.checked_at = self.last_received = now
        address.credit += size
        if len(self._checked) >= MAX_PATHS:
            current = self.path.header if self.path else b""
            oldest = min((each for each in self._checked if each != current), key=self._checked_at)
            del self._checked[oldest]
        self._checked[path.header] = address
        if self.path is None or request.use_candidate:
            self._follow(path)
        else:
            self.follow_relay(path)

    def _checked_at(self, header: bytes) -> float:
        return self._checked[header].checked_at

    def received(self, path: Path, newest: bool, now: float) -> None:
        """Note an authenticated packet that arrived by `path`; `newest`: none of a higher number arrived before."""
        self.last_received = self._used_at = now
        if newest and (self.limited or path != self.path) and path.header in self._checked:
            self._checked[path.header].proved = True
            self._follow(path)

    def follow_relay(self, path: Path) -> None:
        """An authentic packet that was never received before came by this path.

        Where its header is the current one and names the ingress, only the relay between has changed, and both lead to
        that ingress. A client that sends no media is answered through one that lives, and not first at its next
        nomination.
        """
        current = self.path
        if current is None or path.header != current.header or path.relay == current.relay:
            return
        if path.header[1] & backbone.BACKBONE_BIT >> 8:
            self.path = path

    def is_heard_by(self, header: bytes, now: float) -> bool:
        """The client has sent authentic media or records from this address lately: no other call may claim it."""
        return self.path is not None and self.path.header == header and now - self._used_at < IN_USE

    def prove(self, path: Path) -> None:
        """An authentic packet arrived by this path that was never received before."""
        address = self._checked.get(path.header)
        if address is not None:
            address.proved = True
            if self.path is not None and self.path.header == path.header:
                self.limited = False

    def shook_hands(self, path: Path) -> None:
        """The last datagram of the handshake arrived by this path: it answers what we sent there."""
        self._handshake_credit = 0
        self.prove(path)

    def credit(self, path: Path, size: int) -> None:
        """So many bytes of a handshake arrived by this path."""
        address = self._checked.get(path.header)
        if address is not None:
            address.credit += size

    def may_send(self, size: int) -> bool:
        """Whether the address of the current path may get so many bytes, where it is not proved yet."""
        address = self._checked.get(self.path.header) if self.path is not None else None
        if address is not None and address.credit >= size:
            address.credit -= size
        elif address is not None and self._handshake_credit >= size:
            self._handshake_credit -= size
        else:
            self.withheld += 1
            return False
        return True

    def _follow(self, path: Path) -> None:
        self.path = path
        self.limited = not self._checked[path.header].proved
