"""One client address, two calls: a client dials anew from its old port, or a caller claims another's address in checks.

Only one of the two can read what is sent there. So both get what comes from the address, each takes what is authentic
to it, and the newer call has the address for itself as soon as it has proved to be there (by a handshake that went
there and nowhere else, or by an answer to our check) and the older one has been silent since. A call whose client is
there loses nothing to a claim that is not proved. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.rtc import stun
from antiphon.transceiver.ice.agent import Path
from antiphon.transceiver.session.session import Session

SILENT_AFTER: Final = 0.25
"""Seconds without an authentic packet after which a call does not defend its address: a sender of speech has 12 in it,
and all that came since another call claimed the address would have been sent by that one's client."""
LONG_SILENT_AFTER: Final = 6.0
"""Likewise where packets came after the claim: a client that is there answers our check every 5 s."""


class ContestedAddress:
    """Stands in the demultiplexer's table in the place of a session, for as long as two claim the address.

    Owner: the `Demux`; event loop only. It never holds more than two: a third claim replaces the one that has proved
    nothing.
    """

    def __init__(
        self,
        header: bytes,
        former: Session,
        newer: Session,
        now: float,
        settled: Callable[[bytes, Session], None],
    ) -> None:
        """`settled(header, session)` is called when only that one is left."""
        self._header = header
        self._settled = settled
        # Where neither has proved anything yet, the newer check has the address.
        self.owner, self._other = (former, newer) if former.ice.is_witnessed(header) else (newer, former)
        self._since = now

    def claim(self, session: Session, now: float) -> None:
        """A check of this session came from the address."""
        if session in (self.owner, self._other):
            self._settle(now)
            return
        if not self.owner.ice.is_witnessed(self._header):
            self.owner = session
        elif not self._other.ice.is_witnessed(self._header):
            self._other, self._since = session, now
        self._settle(now)

    def release(self, session: Session) -> None:
        """This session has ended, or knows the address no longer."""
        if session is self.owner:
            self._settled(self._header, self._other)
        elif session is self._other:
            self._settled(self._header, self.owner)

    def receive(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> None:
        """As of a session; so are the three below."""
        for session in (self.owner, self._other):
            session.receive(datagram, path, now, unix_ns)
        self._settle(now)

    def receive_answer(self, datagram: bytes, path: Path, now: float) -> None:
        for session in (self.owner, self._other):
            session.receive_answer(datagram, path, now)
        self._settle(now)

    def receive_keepalive(self, error: stun.NoCredentialsError, path: Path, now: float) -> None:
        self.owner.receive_keepalive(error, path, now)

    def disowned(self, path: Path, now: float) -> None:
        for session in (self.owner, self._other):
            session.disowned(path, now)

    def _settle(self, now: float) -> None:
        """Give the address to the other one, if that has proved it and the owner has been silent since it came."""
        owner, other = self.owner, self._other
        if owner.ended is not None or other.ended is not None:
            return  # `release` follows, or has come
        if not other.ice.is_witnessed(self._header):
            return
        silent = owner.ice.silent_for(now)
        path = owner.ice.path
        if (
            not owner.ice.is_witnessed(self._header)
            or path is None
            or path.header != self._header
            or silent >= LONG_SILENT_AFTER
            or (silent >= SILENT_AFTER and silent >= now - self._since)
        ):
            owner.ice.lose(self._header, now)
            self._settled(self._header, other)
