"""An ICE-lite agent (RFC 8445 section 2.5) for one session: which paths are checked, which one answers take.

A path is (tunnel header, relay): the client's address as the relay saw it, and that relay. The header of a client that
entered by a relay of another place also names that one: by another ingress, the same client is at another address here.
The relay between can change without the client: it is followed with any authentic packet. Sans-IO.

Answers go where a check came last, until something authentic came that was no check, or the client nominated a path;
from then on they follow nomination and the newest authenticated packet: when a relay fails, that saves the seconds
until the next check. An address that is not proved gets no more than came from it (`client_addresses`).

Where authentic media comes from an address that no check has come from, a NAT has given the client another port. What
comes is played at once, for it is authentic and new. Answers stay where they are until the client answers a check of
ours from there: an observer that is faster than the client can send on what it overheard, but can't answer a check.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from antiphon.rtc import stun
from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import MalformedError, backbone, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.ice.client_addresses import HANDSHAKE_CREDIT, MAX_PATHS, ClientAddresses
from antiphon.transceiver.ice.own_checks import INTERVAL, TRIAL_INTERVAL, Credentials, OwnChecks
from antiphon.transceiver.ice.seen_checks import SeenChecks
from antiphon.transceiver.session.state import SessionState

__all__ = ["HANDSHAKE_CREDIT", "MAX_PATHS", "IceLite", "Path"]

UNSIGNED: Final = (2, 8)
"""Answers to requests without credentials per second, and at once: clients keep a path alive every few seconds."""
TRIAL_SECONDS: Final = 2.0
"""After its last packet an address without a check is asked for so long."""
LOST_SECONDS: Final = 8.0
"""A client whose address is another call's, or whose relay says so, is gone after so many seconds without a packet:
Firefox checks at least every 6 s, and its check gets back what another has taken."""

CheckOutcome = Literal["taken", "answered", "refused"]


class Path(NamedTuple):
    """Where a client is, and through which relay."""

    header: bytes
    """8 or 20 bytes; 16 or 28 where the client entered by a relay of another place."""
    relay: tuple[str, int]

    @property
    def kind(self) -> Literal["udp", "tcp", "backbone"]:
        """How the client's packets come: `backbone` where it entered by a relay of another place."""
        if self.header[1] & backbone.BACKBONE_BIT >> 8:
            return "backbone"
        return "tcp" if self.header[1] & tunnel.TCP_BIT >> 8 else "udp"

    @property
    def route(self) -> backbone.Route | None:
        """The way behind that relay; None if the client entered there. `MalformedError` if it can't be read."""
        if not self.header[1] & backbone.BACKBONE_BIT >> 8:
            return None
        if self.header[-1] & backbone.TAG_FLAG:
            raise MalformedError("a header with the flag of a tag came from a relay: it has to take that away")
        return backbone.route_of(self.header)


class IceLite:
    """Checks and paths of one session, which owns it for its whole life and calls it on the event loop only.

    It alone writes the part of the `SessionState` that it decides about: `ufrags`, `remote_credentials`,
    `tie_breaker`, `path_header` and `path_relay`.
    """

    def __init__(
        self,
        state: SessionState,
        password_key: bytes,
        send: Callable[[Path, bytes], None],
        changed: Callable[[], None],
    ) -> None:
        """`send` gets responses and our own checks. `changed` is called when the state has changed."""
        self.path: Path | None = None
        """Where answers go; None before the first authenticated check, and after another call took its address."""
        self.limited = True
        """The address of `path` is not proved: `may_send` has to be asked for each packet."""
        self.last_received = 0.0
        """When the last authenticated packet arrived: consent (RFC 7675) as a server sees it."""
        self.replayed = 0
        """Authentic checks that were replays."""
        self.withheld = 0
        """Packets that were not sent to an address that is not proved."""
        self._used_at = float("-inf")
        """When the last authenticated packet arrived that was no check."""
        self._lost_at: float | None = None
        """When the address was lost to another call."""
        self._state = state
        state.tie_breaker = state.tie_breaker or secrets.randbits(64) or 1
        self._password_key = password_key
        foreign = state.foreign_passwords.get
        self._passwords = {each: (foreign(each) or ice_password(password_key, each)).encode() for each in state.ufrags}
        self._send = send
        self._changed = changed
        self._addresses = ClientAddresses()
        self._own = OwnChecks()
        self._seen = SeenChecks(state.seen_checks)
        self._unsigned = TokenBucket(*UNSIGNED)
        self._nominated = False
        self._first_header: bytes | None = None
        """Of the first path, until answers go anywhere else."""
        self._trial: Path | None = None
        """From here the newest authentic packet came, and no check."""

    def resume(self, path: Path, now: float) -> None:
        """Continue with the path of another process."""
        self._addresses.resume(path.header, tuple(self._state.path_aliases), now)
        self.path, self.limited = path, False
        self.last_received = self._used_at = now
        self._own.schedule(now + INTERVAL)

    def restart(self, ufrag: str, client: tuple[str, str] | None) -> None:
        """Accept checks to one more ufrag (RFC 8445 section 9): the path stays until the new one is checked.

        At most one ufrag that was never used is kept. `client`: ufrag and password of the new offer.
        """
        ufrags = self._state.ufrags
        # The one in use is the last of the list; of the others only the newest is kept.
        if len(ufrags) > 1:
            self._forget(ufrags.pop(0))
        ufrags.insert(0, ufrag)
        self._passwords[ufrag] = ice_password(self._password_key, ufrag).encode()
        if client is not None:
            self._state.remote_credentials[ufrag] = client
        self._changed()

    def password_of(self, ufrag: str) -> str:
        """The password that the client got with this ufrag of ours, which has to be known."""
        return self._passwords[ufrag].decode()

    def _forget(self, ufrag: str) -> None:
        self._passwords.pop(ufrag, None)
        self._state.remote_credentials.pop(ufrag, None)
        self._state.foreign_passwords.pop(ufrag, None)

    @property
    def headers(self) -> tuple[bytes, ...]:
        """The client addresses that are known."""
        return self._addresses.headers

    @property
    def round_trip_ms(self) -> float | None:
        """By the client's answer to our last check; None before the first one."""
        return self._own.round_trip_ms

    @property
    def own_refused(self) -> int:
        """Our checks that the client answered with an error."""
        return self._own.refused

    def seen_checks(self) -> list[bytes]:
        """For the next process: it must not take what was received here for new."""
        return self._seen.export()

    # ---- checks of the client --------------------------------------------------------------------------

    def check(
        self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float
    ) -> CheckOutcome:
        """Answer an authentic check, by the path on which it came; `refused`: a replay, or one without the password.

        A repetition is answered and changes nothing else: an observer that is on the client's side of the same NAT
        could send it as well. `answered`: with an error, which is never longer than the request.
        """
        password = self._passwords.get(request.local_ufrag)
        if password is None or not stun.is_authentic(datagram, request, password):
            return "refused"
        verdict = self._seen.judge(request.transaction_id, path.header, now)
        known = self._addresses.get(path.header)
        if verdict == "replayed" or (verdict == "repeated" and known is None and not request.unknown):
            self.replayed += 1
            return "refused"
        if request.unknown:
            error = stun.pack_binding_error(
                request.transaction_id, stun.UNKNOWN_ATTRIBUTE, unknown=request.unknown, password=password
            )
            self._send(path, error)
            return "answered"
        response = stun.pack_binding_success(request.transaction_id, client, password)
        if verdict == "new" or known is None:
            current = self.path.header if self.path is not None else b""
            known = self._addresses.note(path.header, len(datagram), now, current, checked=True)
        known.credit -= len(response)
        self._send(path, response)
        if verdict == "new":
            self.last_received = now
            self._use_ufrag(request.local_ufrag)
            self._consider(path, request.use_candidate, now)
        return "taken"

    def _use_ufrag(self, ufrag: str) -> None:
        ufrags = self._state.ufrags
        if ufrag == ufrags[0] and len(ufrags) > 1:
            for replaced in ufrags[1:]:
                self._forget(replaced)
            del ufrags[1:]  # the client uses the newest: the older ones are no longer needed
            self._changed()

    def _consider(self, path: Path, use_candidate: bool, now: float) -> None:
        """A new check came by this path: whether answers take it."""
        undecided = not self._nominated and self._used_at == float("-inf")
        if self.path is None or use_candidate or undecided:
            self._nominated = self._nominated or use_candidate
            self._follow(path, now)
        else:
            self.follow_relay(path)
            self.ask(now)

    def refuse_without_credentials(self, error: stun.NoCredentialsError, path: Path, now: float) -> None:
        """The unsigned answer to a request without credentials, to a known address (RFC 8489 section 9.1.3).

        Clients keep a path alive by such requests. They count as no sign of life: anybody can send them.
        """
        if not self._unsigned.take(1, now):
            return
        response = stun.pack_binding_error(error.transaction_id, stun.BAD_REQUEST, fingerprint=error.fingerprint)
        if self._addresses.may_send(path.header, len(response)):
            self._send(path, response)

    # ---- our own checks --------------------------------------------------------------------------------

    def ask(self, now: float) -> None:
        """Send our check if one is due, and if its address may get so much. Also to be called every 50 ms or so."""
        if not self._own.is_due(now):
            return
        if self._trial is not None and not self._is_on_trial(self._trial, now):
            self._trial = None
        path, ours = self._trial or self.path, self._state.ufrags[-1]
        known = self._state.remote_credentials.get(ours)
        if path is None or known is None:
            return
        client = Credentials(*known)
        if self._addresses.may_send(path.header, self._own.length(client, ours)):
            again = now + (INTERVAL if self._trial is None else TRIAL_INTERVAL)
            self._send(path, self._own.make(path.header, client, ours, self._state.tie_breaker, now, again))

    def _is_on_trial(self, path: Path, now: float) -> bool:
        address = self._addresses.get(path.header)
        return address is not None and not address.checked and now - address.used_at < TRIAL_SECONDS

    def answered(self, datagram: bytes, path: Path, now: float) -> None:
        """A response to a binding request came by this path. Only an authentic success to a check of ours counts."""
        if self._own.take(datagram, path.header, now) != "answered":
            return
        self.last_received = self._used_at = now
        address = self._addresses.get(path.header)
        if address is None:
            return
        address.checked = address.proved = address.witnessed = True
        if self.path is not None and self.path.header == path.header:
            self.limited = False
            self.follow_relay(path)
            self._write_path()
        elif self.limited or (self._trial is not None and self._trial.header == path.header):
            self._trial = None
            self._follow(path, now)

    # ---- other packets ---------------------------------------------------------------------------------

    def received(self, path: Path, newest: bool, now: float, size: int) -> None:
        """Note an authenticated packet that arrived by `path`; `newest`: none of a higher number arrived before."""
        self.last_received = self._used_at = now
        if newest and (self.limited or path != self.path):
            self._received_elsewhere(path, now, size)

    def received_as_expected(self, now: float) -> None:
        """As `received`, for a packet by the current path, whose address is proved."""
        self.last_received = self._used_at = now

    def _received_elsewhere(self, path: Path, now: float, size: int) -> None:
        address = self._addresses.get(path.header)
        if address is None:
            return
        if address.checked:
            address.proved = True
            self._trial = None
            self._follow(path, now)
            return
        address.credit += size
        address.used_at = now
        if self._trial != path:
            self._trial = path
            self._own.schedule(now)
        self.ask(now)

    def learn(self, path: Path, size: int, now: float) -> None:
        """The newest authentic packet came from an address that is new: a NAT has forgotten the client's port.

        The bare header makes the relay know whose it is, so that the client's further packets and its answers come.
        """
        current = self.path.header if self.path is not None else b""
        self._addresses.note(path.header, size, now, current, checked=False)
        self._send(path, b"")

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
            self._write_path()

    def prove(self, path: Path) -> None:
        """An authentic packet arrived by this path that was never received before."""
        if (address := self._addresses.get(path.header)) is not None and address.checked:
            address.proved = True
            if self.path is not None and self.path.header == path.header:
                self.limited = False
                self._write_path()

    def shook_hands(self, path: Path, now: float) -> None:
        """The last datagram of the handshake arrived by this path: it answers what we sent there."""
        self._used_at = now
        self._addresses.end_handshake()
        self.prove(path)
        address = self._addresses.get(path.header)
        if address is not None and path.header == self._first_header:
            address.witnessed = True

    def credit(self, path: Path, size: int) -> None:
        """So many bytes of a handshake arrived by this path."""
        if (address := self._addresses.get(path.header)) is not None:
            address.credit += size

    def may_send(self, size: int) -> bool:
        """Whether the address of the current path may get so many bytes, where it is not proved yet."""
        if self.path is not None and self._addresses.may_send(self.path.header, size):
            return True
        self.withheld += 1
        return False

    def _follow(self, path: Path, now: float) -> None:
        is_new = path != self.path
        if self.path is None:
            self._first_header = path.header
        elif path.header != self._first_header:
            self._first_header = None
        address = self._addresses.get(path.header)
        self.path, self.limited = path, address is None or not address.proved
        self._write_path()
        if is_new:
            self._own.schedule(now)
        self.ask(now)

    def _write_path(self) -> None:
        """Write the current path into the state, once its address is proved: a process that takes over trusts it."""
        path, state = self.path, self._state
        if path is None or self.limited or (path.header, path.relay) == (state.path_header, state.path_relay):
            return
        state.path_header, state.path_relay = path.header, path.relay
        self._changed()

    # ---- addresses that several calls claim ------------------------------------------------------------

    def is_witnessed(self, header: bytes) -> bool:
        """The client is there: it has answered what was sent there and nowhere else."""
        address = self._addresses.get(header)
        return address is not None and address.witnessed

    def silent_for(self, now: float) -> float:
        """Seconds since the last authenticated packet that was no check."""
        return now - self._used_at

    def lose(self, header: bytes, now: float) -> None:
        """Another call has proved that this address is its own: send nothing more there."""
        self._addresses.remove(header)
        self._lost_at = now
        if self.path is not None and self.path.header == header:
            self.path, self.limited = None, True
            self._state.path_header, self._state.path_relay = b"", None
            self._changed()

    def disowned(self, path: Path, now: float) -> None:
        """The relay says that this client is another transceiver's, and drops what we send to it."""
        if path == self.path and not self._is_lost():
            self._lost_at = now

    def _is_lost(self) -> bool:
        return self._lost_at is not None and self.last_received <= self._lost_at

    def is_gone(self, now: float) -> bool:
        """Nothing has come since the address was lost to another call: that client has dialled anew."""
        return self._is_lost() and self._lost_at is not None and now - self._lost_at > LOST_SECONDS
