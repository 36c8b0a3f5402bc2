"""An error inside one session ends that session and reaches no other one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar, TypeVarTuple

from antiphon.schemas import messages
from antiphon.transceiver.ice.agent import IceLite
from antiphon.transceiver.session.state import SessionState

log = logging.getLogger(__name__)

P = TypeVarTuple("P")


class _Ends(Protocol):
    state: SessionState
    ice: IceLite

    def end(self, reason: messages.EndReason, now: float) -> None: ...


S = TypeVar("S", bound=_Ends)


def contained(method: Callable[[S, *P], None]) -> Callable[[S, *P], None]:
    """Decorate an entry point of a session: an exception in it ends this session with reason `internal`."""

    @wraps(method)
    def enter(self: S, *args: *P) -> None:
        try:
            method(self, *args)
        except Exception:
            failed(self)

    return enter


def failed(session: _Ends) -> None:
    """End a session in an exception handler, as `contained` does.

    The entry points of frames call it: there a decorator would cost as much as reading an RTP header.
    """
    log.exception("session %s failed and ends", session.state.session_id)
    session.end("internal", session.ice.last_received)
