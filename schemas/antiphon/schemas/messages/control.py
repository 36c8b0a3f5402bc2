"""Requests of an agent to the transceiver of its session, on `session_control`; `HangUp` also on `call_hang_up`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.agents import HandedCall
from antiphon.schemas.messages.calls import Turn
from antiphon.schemas.messages.message import Message


class Flush(Message):
    """Stop the speech now: fade out within 20 ms, drop all queued speech below `generation`."""

    type: Literal["flush"] = "flush"
    generation: int = Field(ge=0)
    """The first generation that is played again."""


class Pause(Message):
    """Hold the speech at the exact sample; what is queued stays queued."""

    type: Literal["pause"] = "pause"


class Resume(Message):
    """Continue the speech at the exact sample at which `Pause` held it."""

    type: Literal["resume"] = "resume"


class HangUp(Message):
    """End the session with `Ended`, reason `hang_up`."""

    type: Literal["hang_up"] = "hang_up"
    reason: str = "hang_up"
    """A short word for logs and for clients that ask why the call ended: `cause` of `Ended`, cut to 200 characters."""
    instance: str = ""
    """The agent instance that hangs up, as in its claim's answer. One that got `claim_expired` is refused."""
    creator: str = ""
    """Where signaling asks: in whose name, see `may_manage`."""


class Transfer(Message):
    """Give the session to another agent. Answered at once; the outcome is an event.

    `Transferred` is the last event under the name of the agent that asks. `TransferFailed` says that no instance of the
    other agent has accepted: nothing has changed then.
    """

    type: Literal["transfer"] = "transfer"
    agent: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of the agent that shall take the session."""
    handed: HandedCall | None = None
    """What that agent gets along with the session."""


class AskPerson(Message):
    """A person should take the session over. The operator's system is told; the session stays where it is.

    That system transfers the call, or refuses: then the agent gets `TransferFailed` without an agent's name.
    """

    type: Literal["ask_person"] = "ask_person"
    summary: str = Field(default="", max_length=4000)
    """For that person."""


class TransferCall(Message):
    """The operator's system transfers a call, or refuses to have a person take it: on `call_transfer`.

    Answered when the outcome is known.
    """

    agent: str = Field(default="", pattern=r"^([A-Za-z0-9_-]{1,64})?$")
    """Name of the agent that shall take the session; empty: nobody can take it, and its agent learns `refusal`."""
    refusal: str = Field(default="", max_length=500)
    """Why no person takes it."""
    summary: str = Field(default="", max_length=4000)
    """For the next agent."""
    creator: str = ""
    """In whose name signaling asks, see `may_manage`."""


class ReportTurn(Message):
    """What the agent knows of a turn, when its first frame is published and when it has ended. Needs no answer.

    The transceiver adds its own parts, and what the network and the client add. Nothing of it changes the call.
    """

    type: Literal["report_turn"] = "report_turn"
    turn: Turn
    """`parts` from `end_of_turn` to `tts`; `trace` is the parent of the transceiver's own spans."""
    last_sample: int = Field(ge=0)
    """Number of the caller's last sample of speech, at the session's input rate: what ties both clocks together."""
    published: float = Field(ge=0)
    """Unix time at which the first frame of the answer was published, by the agent's clock."""


AnyControl = Flush | Pause | Resume | HangUp | Transfer | AskPerson | ReportTurn
Control = Annotated[AnyControl, Field(discriminator="type")]
CONTROL: Final[TypeAdapter[AnyControl]] = TypeAdapter(Control)


class ControlReply(Message):
    """The transceiver's answer to a control message."""

    ok: bool
    """The transceiver did what the request asks for, or will when it has made the session."""
    message: str = ""
    """Why not; for people."""
