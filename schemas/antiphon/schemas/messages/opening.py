"""Signaling asks a transceiver to open a session, or why one ended, and the answers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, TypeAdapter

from antiphon.schemas.messages.calls import CallTrace
from antiphon.schemas.messages.events import EndReason
from antiphon.schemas.messages.message import LockedPaths, Message

ANY_CREATOR: Final = "*"
"""Asks in the name of every creator: an API key with the scope `calls.manage`, or signaling itself."""


def may_manage(asker: str, creator: str) -> bool:
    """Whether `asker` may hang up, restart or attach to a call that `creator` has made.

    A creator is `<hash of the API key>` or, for a client secret, `<hash of its maker's key>.<hash of the secret>`. So
    an API key also manages the calls that were made with its secrets. A call without a creator was made without keys:
    every client may manage it.
    """
    if asker == ANY_CREATOR or creator in ("", asker):
        return True
    return asker != "" and creator.startswith(f"{asker}.")


class IceCredentials(BaseModel):
    """What one side of an ICE session checks the other by (RFC 8839 section 5.4)."""

    ufrag: str = Field(pattern=r"^[A-Za-z0-9+/]{4,256}$")
    """Names the session of ICE."""
    password: str = Field(pattern=r"^[A-Za-z0-9+/]{22,256}$")
    """Signs the checks to this side."""


class OpenRequest(Message):
    """Signaling asks a transceiver to open a session, or to restart ICE in a running one."""

    offer: str = Field(max_length=256 * 1024)
    """The client's SDP offer, unchanged; empty only with `ice` and `withdraw`."""
    agent: str = Field(default="-", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of the agent that shall take the call. Unread where `session_id` is set."""
    session: dict[str, Any] = Field(default_factory=dict)
    """Session settings of the OpenAI realtime protocol, handed to the agent unread."""
    locked: LockedPaths = Field(default_factory=list)
    """Paths in `session` that the client's secret fixes, such as `instructions`: handed to the agent."""
    session_id: str | None = None
    """A running session whose client restarts ICE with this offer: everything but the path stays as it is."""
    creator: str = Field(default="", max_length=128)
    """Which credential asks: see `may_manage`. Empty: no keys are set."""
    caller: str = Field(default="", max_length=64)
    """What half-open sessions are counted by: `k-<hash>` of an API key, or `a-<hash>` of an address (IPv6: its /64)."""
    copies: bool | None = None
    """Whether a second region keeps a copy of the call, from which it goes on when its cluster dies. None: as the
    cluster is set."""
    dialect: Literal["realtime", "rtvi"] = "realtime"
    """What the client speaks on its data channel: the realtime protocol, or RTVI (Pipecat's clients), which the
    transceiver translates. The agent gets the realtime protocol either way. Unread where `session_id` is set."""
    listener: str | None = Field(default=None, max_length=128)
    """Set: the offer is that of a listener to the running session of `session_id`, made in the name of this credential
    (as `creator`). It gets a session of its own, with both voices of the other one and without an agent."""
    ice: IceCredentials | None = None
    """The client's, in place of an offer for the running session `session_id` (RFC 9725 section 4.3): ICE restarts if
    they are others than it has. Everything but the path stays as it is."""
    ice_sessions: list[Annotated[str, Field(max_length=256)]] = Field(default_factory=list, max_length=16)
    """With `ice`: the ICE sessions that this may be about, each by our ufrag in it; `*` is any."""
    trace: CallTrace | None = None
    """The root span of the new call; None: it is not traced. Of a prepared one: that of the request."""
    prepare: str | None = Field(default=None, max_length=128)
    """Set: only an answer is wanted. The session is made by the client's first check, if that comes within a minute. A
    name that is not empty has one prepared call at a time, which a newer one replaces, and is told of its use by a mark
    in the bucket of limits."""
    withdraw: str | None = Field(default=None, max_length=64)
    """In place of an offer: the prepared call of this id shall not be used any more. Refused (`in_use`) once its client
    is connected."""


class Opened(Message):
    """The session exists. The answer names no address: signaling adds the relays' candidates."""

    type: Literal["opened"] = "opened"
    session_id: str
    """`rtc_` and 24 letters and digits: the call's name in URLs and subjects."""
    answer: str
    """SDP with `c=IN IP4 0.0.0.0`, port 9 and no candidates."""
    cluster: int | None = Field(default=None, ge=0, lt=1 << 12)
    """The cluster that the answer's token names: relays that reach it are offered. None: one of an earlier release."""
    ice: IceCredentials | None = None
    """Ours, where the request brought the client's and ICE has restarted; there is no answer then."""


class Refused(Message):
    """No session, and why."""

    type: Literal["refused"] = "refused"
    code: Literal[
        "full",
        "draining",
        "bad_offer",
        "no_audio",
        "no_opus",
        "no_agent",
        "agent_ended",
        "no_session",
        "internal",
        "stale_ice",
        "in_use",
        "not_prepared",
    ]
    """For programs."""
    message: str
    """For the person who reads the error: names the thing, the value and the way out."""
    retry_after: int = Field(default=0, ge=0, le=3600)
    """Seconds after which another try makes sense; 0: not known."""


OpenReply = Annotated[Opened | Refused, Field(discriminator="type")]
OPEN_REPLY: Final[TypeAdapter[Opened | Refused]] = TypeAdapter(OpenReply)


class CallStatus(Message):
    """Whether a session runs, and else why it ended: the answer of the transceiver that has it or had it lately."""

    session_id: str
    """`rtc_` and 24 letters and digits."""
    state: Literal["running", "ended"]
    """An ended session is known for two minutes."""
    connected: bool
    """The client's packets arrived: the DTLS handshake was finished."""
    spoke: bool
    """Speech of the agent was sent to the client."""
    reason: EndReason | None = None
    """As in `Ended`; None while it runs."""
    cause: str = ""
    """As in `Ended`."""
    creator: str = ""
    """Which credential made the call: see `may_manage`."""
    trace: str = Field(default="", max_length=64)
    """`traceparent` of its root span; empty: it is not traced."""


class Attach(Message):
    """Signaling asks, for a side channel, which agent has a call."""

    creator: str = ""
    """In whose name it asks: see `may_manage`."""


class AttachReply(Message):
    """Whether a call runs, and with which agent: the answer of its transceiver to a side channel on `call_attach`.

    No transceiver subscribes for a session that ended: the request then has no responders.
    """

    ok: bool
    """The call runs, or is being made."""
    agent: str = ""
    """The agent in the session's subjects. A transfer changes it: the event `Transferred` names the next one."""
    cluster: int | None = Field(default=None, ge=0, lt=1 << 12)
    """The cluster that has the session. None: a transceiver of an earlier release."""
    message: str = ""
    """Why not; for people."""
