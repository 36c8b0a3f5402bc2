"""What an agent, the bridge or signaling tells the transceiver to do with a session."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.message import Message


class Flush(Message):
    """Stop speaking now: fade out within 20 ms, drop all queued speech below `generation`."""

    type: Literal["flush"] = "flush"
    generation: int = Field(ge=0)
    """The first generation that may be heard again."""


class Pause(Message):
    """Hold the speech at the exact sample."""

    type: Literal["pause"] = "pause"


class Resume(Message):
    """Go on from the exact sample at which `Pause` held."""

    type: Literal["resume"] = "resume"


class HangUp(Message):
    """End the session."""

    type: Literal["hang_up"] = "hang_up"
    reason: str = "hang_up"
    """In a word, for logs and for whoever asks why the call is over: `cause` of `Ended`."""
    instance: str = ""
    """The agent instance that hangs up, as in its claim's answer; one that was told `claim_expired` is not obeyed."""


Control = Annotated[Flush | Pause | Resume | HangUp, Field(discriminator="type")]
CONTROL: Final[TypeAdapter[Flush | Pause | Resume | HangUp]] = TypeAdapter(Control)


class ControlReply(Message):
    """The transceiver's answer to a control message."""

    ok: bool
    message: str = ""
