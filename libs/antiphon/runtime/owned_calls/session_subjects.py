"""What `SessionBus` knows of the subjects of one session: those of its agent, and what came before it was made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.runtime.nats import nats_fast_path
from antiphon.runtime.owned_calls.agent_bounds import AgentBounds
from antiphon.runtime.owned_calls.control_rpc import Refusal
from antiphon.runtime.owned_calls.owned_call import Act
from antiphon.schemas import messages

MAX_EARLY: Final = 256
"""Messages of an agent kept between its claim and the making of its session; any above that are dropped."""
MAX_INSTANCES: Final = 64
"""Agent instances of which, per session, an early hang-up, or a late acceptance, is remembered."""


class EarlyMessages:
    """Messages to a session that is being made: an agent may speak, and hang up, as soon as it is asked.

    Owner: `SessionBus`, from before the claim until the session is made or is not: for the time of a claim, 2.5 s.
    """

    def __init__(self) -> None:
        self.received: list[nats_fast_path.Received | Act | messages.AskPerson] = []
        self.hung_up: dict[str, messages.HangUp] = {}
        """By instance, which may be empty. Kept apart: a hang-up is never one message too many."""

    def keep(self, message: nats_fast_path.Received) -> None:
        if len(self.received) < MAX_EARLY:
            self.received.append(message)

    def control(self, control: Act | messages.Transfer | messages.AskPerson) -> str:
        """Keep it; returns the text of the answer, or raises `Refusal`."""
        if isinstance(control, messages.Transfer):
            raise Refusal("no transfer before the agent has the session: ask again")
        if isinstance(control, messages.HangUp):
            if control.instance not in self.hung_up and len(self.hung_up) >= MAX_INSTANCES:
                raise Refusal(f"{MAX_INSTANCES} instances have hung up already")
            self.hung_up.setdefault(control.instance, control)
        elif len(self.received) >= MAX_EARLY:
            raise Refusal(f"{MAX_EARLY} messages wait for the session already")
        else:
            self.received.append(control)
        return "kept: the session is being made"


@dataclass(eq=False)
class AgentSubjects:
    """The subjects of one session under one agent's name. Filled one by one, so that an end in the middle ends all.

    Owner: the `SessionSubjects` that it is in.
    """

    agent: str
    early: EarlyMessages | None = field(default_factory=EarlyMessages)
    """Until the agent has the session."""
    has_session: bool = False
    """What comes here is for the session: one attribute, because it is read for every frame."""
    bounds: AgentBounds = field(default_factory=AgentBounds)
    speech: Subscription | None = None
    control: Subscription | None = None


@dataclass(eq=False)
class SessionSubjects:
    """All of one session. Owner: `SessionBus`."""

    current: AgentSubjects
    """Of the agent that has the session, or is asked to take the new one."""
    creator: str
    """Which credential made the call: as in `OpenRequest.creator`."""
    next: AgentSubjects | None = None
    """Of the agent that a transfer asks."""
    call: Subscription | None = None
    called: Callable[[Msg], Awaitable[None]] | None = None
    """Takes what comes to `call`, and the same from another region."""
    late: set[str] = field(default_factory=set)
    """Instances that have accepted the session too late."""
