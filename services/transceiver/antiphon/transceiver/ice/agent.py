"""An ICE-lite agent (RFC 8445 section 2.5) for one session: which paths are checked, which one answers take.

We never send checks. A path is (tunnel header, relay): the client's address as the relay saw it, and that relay.
Answers follow the newest authenticated packet on a checked path, not only nomination: when a relay fails, this saves
the seconds until the next check. Sans-IO.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.rtc import stun
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password

MAX_PATHS: Final = 8
"""Client addresses kept as checked; the one not used for longest goes first."""


class Path(NamedTuple):
    """Where a client is, and through which relay."""

    header: bytes
    relay: tuple[str, int]


class IceLite:
    """Checks and paths of one session, which owns it for its whole life and calls it on the event loop only."""

    def __init__(self, password_key: bytes, ufrags: list[str]) -> None:
        self.path: Path | None = None
        """Where answers go; None before the first authenticated check."""
        self.last_received = 0.0
        """When the last authenticated packet arrived: consent (RFC 7675) as a server sees it."""
        self._password_key = password_key
        self._passwords = {ufrag: ice_password(password_key, ufrag).encode() for ufrag in ufrags}
        self._checked: dict[bytes, float] = {}

    def resume(self, path: Path, now: float) -> None:
        """Continue with the path of another process."""
        self.path = path
        self._checked[path.header] = now
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

    def check(
        self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float
    ) -> bytes | None:
        """The answer to an authentic check; None, and no answer, to one without the password."""
        password = self._passwords.get(request.local_ufrag)
        if password is None or not stun.is_authentic(datagram, request, password):
            return None
        self._checked.pop(path.header, None)
        if len(self._checked) >= MAX_PATHS:
            current = self.path.header if self.path else b""
            oldest = min((header for header in self._checked if header != current), key=self._checked.__getitem__)
            del self._checked[oldest]
        self._checked[path.header] = now
        self.last_received = now
        if self.path is None or request.use_candidate:
            self.path = path
        return stun.pack_binding_success(request.transaction_id, client, password)

    def received(self, path: Path, newest: bool, now: float) -> None:
        """Note an authenticated packet that arrived by `path`; `newest`: none of a higher number arrived before."""
        self.last_received = now
        if newest and path != self.path and path.header in self._checked:
            self.path = path
