"""Writes what the ICE agent decides, ufrags and the current path, into the state of a session. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.rtc import stun
from antiphon.schemas.addresses import Address
from antiphon.transceiver.ice.agent import IceLite, Path
from antiphon.transceiver.session.state import SessionState


class ClientPath:
    """Owner: the session, for its whole life; called on the event loop only. `changed` is called after each change."""

    def __init__(self, state: SessionState, ice: IceLite, changed: Callable[[], None]) -> None:
        self._state = state
        self._ice = ice
        self._changed = changed
        self._followed: Path | None = None

    def check(
        self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float
    ) -> bytes | None:
        """The answer to a connectivity check, None if it was not authentic."""
        response = self._ice.check(request, datagram, client, path, now)
        if response is None:
            return None
        if request.local_ufrag == self._state.ufrags[0]:
            for replaced in self._state.ufrags[1:]:
                self._forget(replaced)
            del self._state.ufrags[1:]  # the client uses the newest: the older ones are no longer needed
        self.follow()
        return response

    def restart(self, ufrag: str, client: tuple[str, str] | None) -> None:
        """Add a ufrag, because the client restarts ICE. At most one that was never used is kept.

        `client`: its own new ufrag and password.
        """
        ufrags = self._state.ufrags
        # The one in use is the last of the list; of the others only the newest is kept.
        if len(ufrags) > 1:
            self._forget(ufrags.pop(0))
        ufrags.insert(0, ufrag)
        if client is not None:
            self._state.remote_credentials[ufrag] = client
        self._ice.restart(ufrag)
        self._state.sdp_version += 1
        self._changed()

    def _forget(self, ufrag: str) -> None:
        self._ice.forget(ufrag)
        self._state.remote_credentials.pop(ufrag, None)

    def follow(self) -> None:
        """Write the current path into the state, if it has changed."""
        path = self._ice.path
        if path is self._followed or self._ice.limited:
            return  # a process that takes over would treat an address as proved that is not
        self._followed, state = path, self._state
        if path is not None and (path.header, path.relay) != (state.path_header, state.path_relay):
            state.path_header, state.path_relay = path.header, path.relay
            self._changed()
