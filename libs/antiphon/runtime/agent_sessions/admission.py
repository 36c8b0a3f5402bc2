"""Which claims an instance of an agent accepts, what it answers to the others, how long acceptances took. Sans-IO.

The shell subscribes to the session before it accepts, and enters it into the table of its sessions before its first
`await`: so the capacity is exact, whatever claims arrive meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from antiphon.runtime.metrics.metrics import Metrics
from antiphon.schemas import messages, subjects
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.messages import AudioRate, Claim, ClaimReply, Lease

log = logging.getLogger(__name__)

CLOCKS_APART: Final = 1.0
"""Seconds by which the clocks of two machines may differ without a claim being taken for an old one."""
FULL_RETRY: Final = 5
"""Seconds after which another try makes sense where all places are taken."""
_CLAIMS_MEASURED: Final = 1000


def read_claim(data: bytes, agent: str) -> Claim:
    """A claim as it came to this agent; `MalformedError` if it is none, or names a session that is none of its own.

    One of another release is refused as well: the subjects of its session may be others than ours.
    """
    claim = messages.decode(data, Claim)
    subjects.audio_in(claim.agent, claim.session_id)
    if claim.agent != agent:
        raise MalformedError(f"the claim of session {claim.session_id} is for agent {claim.agent}: this is {agent}")
    return claim


def is_stale(claim: Claim, unix_time: float) -> bool:
    """The transceiver has given up waiting: we were stopped, or the claim was on its way for too long."""
    return 0 < claim.expires_at < unix_time - CLOCKS_APART


class Admission:
    """Decides about claims and counts them.

    Owner: the agent (SDK) or the bridge, for the life of the process. Called from the event loop.
    """

    def __init__(
        self,
        sessions: Collection[str],
        capacity: int,
        instance: str,
        input_rate: AudioRate,
        setting: str = "",
        overload: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        """`sessions`: ids of those that run, the table of the owner. `setting` names that of `capacity`.

        `overload()`: why one more session would not be served in time, and the seconds after which to try again; empty:
        it would be.
        """
        self._overload = overload
        self._stopping = False
        self._sessions, self._capacity = sessions, capacity
        self._instance, self._input_rate = instance, input_rate
        self._setting = f" ({setting})" if setting else ""
        self._accepted = self._refused = 0
        self._took_ms: deque[float] = deque(maxlen=_CLAIMS_MEASURED)

    def stop(self) -> None:
        """The instance is about to end: it accepts nothing more."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """`stop` was called."""
        return self._stopping

    @property
    def places(self) -> int:
        """How many more sessions there is a place for, whatever the load is."""
        return 0 if self.stopping else self._capacity - len(self._sessions)

    @property
    def room(self) -> int:
        """How many more sessions are accepted."""
        return 0 if self._overload()[0] else self.places

    @property
    def retry_after(self) -> int:
        """Seconds after which a claim that is refused now may be accepted; 0: that is not known."""
        return self._overload()[1] or (FULL_RETRY if self.full else 0)

    @property
    def full(self) -> str:
        """Why no session is accepted at all; empty: there is room."""
        if self.stopping:
            return "this instance is about to stop"
        if self.places <= 0:
            return f"this instance has {len(self._sessions)} sessions, its capacity{self._setting}"
        return self._overload()[0]

    def refusal(self, claim: Claim, unix_time: float, unfit: str = "") -> str:
        """Why this claim is refused; empty: it may be accepted. `unfit`: why another instance would be better."""
        if claim.session_id in self._sessions:
            return f"session {claim.session_id} is claimed already"
        if is_stale(claim, unix_time):
            return f"the claim of session {claim.session_id} is too old: or do the machines' clocks differ?"
        return unfit or self.full

    @staticmethod
    def lost(session_id: str) -> str:
        """The refusal where the lease turned out to be another instance's."""
        return f"another instance has taken session {session_id}"

    def lease(self, claim: Claim, trace: Mapping[str, str], unix_time: float) -> Lease:
        """What the session is held by, for a claim that may be accepted. `trace`: headers with its trace context."""
        return Lease(
            session_id=claim.session_id,
            agent=claim.agent,
            instance=self._instance,
            input_rate=self._input_rate,
            session=claim.session,
            locked=claim.locked,
            handed=claim.handed,
            started_at=unix_time,
            trace=dict(trace),
        )

    def reply(self, refusal: str = "", retry_after: int = 0) -> bytes:
        """The answer to a claim, accepted or refused, ready to be sent."""
        if refusal:
            self._refused += 1
            log.warning("claim refused: %s", refusal)
        return messages.encode(
            ClaimReply(
                accepted=not refusal,
                input_rate=self._input_rate,
                instance=self._instance,
                message=refusal,
                retry_after=retry_after,
            )
        )

    def accepted(self, session_id: str, took_ms: float) -> None:
        """A claim was accepted, so long after it came."""
        self._accepted += 1
        self._took_ms.append(round(took_ms, 2))
        log.info("%s: claimed in %.1f ms (%d of %d)", session_id, took_ms, len(self._sessions), self._capacity)

    def register_metrics(self, metrics: Metrics) -> None:
        """Have a scraper read sessions and capacity."""
        metrics.gauge("antiphon_call_agent_sessions", lambda: len(self._sessions))
        metrics.gauge("antiphon_call_capacity", lambda: 0 if self.stopping else self._capacity)
        metrics.gauge("antiphon_process_draining", lambda: int(self.stopping))

    def figures(self) -> dict[str, Any]:
        """What `nats micro stats antiphon-agent` shows of this instance."""
        took = sorted(self._took_ms)
        return {
            "sessions": len(self._sessions),
            "capacity": self._capacity,
            "claims": self._accepted,
            "claims_refused": self._refused,
            "claim_ms_p50": took[len(took) // 2] if took else None,
            "claim_ms_p95": took[len(took) * 95 // 100] if took else None,
        }
