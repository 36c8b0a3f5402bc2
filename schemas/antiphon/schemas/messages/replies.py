"""A bridge asks for one turn's answer, a text agent or a language model's worker streams it.

The request goes to `agent_reply` or to `worker`, with a reply subject of its own; each answer on it is one `ReplyPart`.
The last one is `ReplyEnd` or `ReplyError`. Numbers run from 0 over all parts of one answer: a reader sees a gap.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from antiphon.schemas.messages.message import Message

MAX_TEXT_PART: Final = 16 * 1024
"""Characters of one `ReplyText`."""
MAX_SPEECH_PART: Final = 128 * 1024
"""Bytes of samples of one `ReplySpeech`, before base64."""
MAX_STATE: Final = 8 * 1024
"""Bytes of an agent's state as JSON: it is kept with the call's lease."""
ALIVE_SECONDS: Final = 0.5
"""Between two signs of life of an instance that has nothing to say yet."""
ANNOUNCE_SECONDS: Final = 1.0
ANNOUNCE_TTL: Final = 3.0
"""Seconds without an announcement after which an instance counts as gone."""

ReplyEvent = Literal["turn", "call_started", "silence", "call_ended"]
"""Why an agent is asked. `turn`: the caller has said, typed or pressed something, or the client wants an answer.
`call_started`: in place of a fixed greeting. `silence`: the caller has said nothing for a while. `call_ended`: a
message without a reply subject."""
Expected = Literal["number", "name", "date", "yes_no", "anything"]


class PlayedAnswer(Message):
    """What the caller heard of the answer before."""

    text: str = ""
    """Its words, as far as they were played."""
    interrupted: bool = False
    """The caller spoke before its end."""


class ReplyRequest(Message):
    """One turn to be answered."""

    call_id: str
    """`rtc_` and 24 letters and digits."""
    agent: str = ""
    """The agent's name; empty to a language model's worker."""
    event: ReplyEvent = "turn"
    """Why it is asked."""
    turn: int = Field(default=0, ge=0)
    """Counts the requests of a call. A request that is repeated to another instance has the same number."""
    text: str = ""
    """The caller's words since the last answer; empty if the client has asked for an answer without any."""
    now: str = ""
    """Local time of the bridge, ISO 8601 with its offset."""
    language: str = "en"
    """BCP 47, of the session: what to answer in."""
    items: list[dict[str, Any]] = Field(default_factory=list)
    """The conversation as played, this text included: items of the realtime protocol. The oldest may be missing."""
    instructions: str = ""
    """The session's, or those of the announcement."""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """Functions that the client answers: `name`, `description`, `parameters` (JSON Schema)."""
    tool_choice: str | dict[str, Any] = "auto"
    """As in the realtime protocol."""
    max_output_tokens: int | None = None
    """None: no bound but those of the bridge."""
    said: str = ""
    """The beginning of this answer that an instance before has spoken: go on behind it."""
    keys: str = Field(default="", max_length=64)
    """Keys of the telephone that belong to this turn."""
    played: PlayedAnswer | None = None
    """Of the answer before; None: there was none."""
    session: dict[str, Any] = Field(default_factory=dict)
    """Session settings of the client, as in the claim."""
    state: Any = None
    """What the agent's last `ReplyState` of this call held."""
    speculative: bool = False
    """A guess: the turn may go on. The answer is not spoken unless the turn ends with the same words."""


class ReplyText(Message):
    """Words to be spoken, as few as the agent likes."""

    type: Literal["text"] = "text"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    text: str = Field(max_length=MAX_TEXT_PART)
    """A piece of the answer."""


class ReplySpeech(Message):
    """Audio of the agent's own: `s16le`, mono."""

    type: Literal["speech"] = "speech"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    pcm: str = Field(max_length=MAX_SPEECH_PART * 4 // 3 + 4)
    """Base64."""
    rate: Literal[8000, 16000, 24000, 48000] = 24000
    """Hz."""
    words: str = Field(default="", max_length=MAX_TEXT_PART)
    """What it says, for the transcript."""


class ReplyPause(Message):
    """Silence before what comes next."""

    type: Literal["pause"] = "pause"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    milliseconds: int = Field(ge=0, le=10_000)
    """How long."""


class ReplyCall(Message):
    """The client is to call a function; its output comes with a later request."""

    type: Literal["call"] = "call"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    call_id: str = Field(max_length=64)
    """For its output."""
    name: str = Field(max_length=64)
    """The function's."""
    arguments: str
    """JSON."""


class ReplyTool(Message):
    """The agent itself begins or ends a tool: for record, trace and time line. Nothing of it is spoken."""

    type: Literal["tool"] = "tool"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    call_id: str = Field(max_length=64)
    """The same at its beginning and its end."""
    name: str = Field(max_length=64)
    """The tool's."""
    arguments: str = ""
    """JSON."""
    output: str | None = None
    """None: it has begun. Text, mostly JSON, or the error's text."""
    failed: bool = False
    """`output` is an error."""


class ReplyHangUp(Message):
    """Hang up when the answer was played."""

    type: Literal["hang_up"] = "hang_up"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""


class ReplyTransfer(Message):
    """Give the call to another agent when the answer was played."""

    type: Literal["transfer"] = "transfer"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    agent: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Its name."""
    summary: str = Field(default="", max_length=4000)
    """For the next agent, which gets the conversation besides."""
    silent: bool = False
    """The next agent does not greet: it answers what the caller has said last."""


class ReplyPerson(Message):
    """A person should take over: `offered` to the caller, or `accepted` by the caller."""

    type: Literal["person"] = "person"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    state: Literal["offered", "accepted"]
    """`offered` by the agent, `accepted` by the caller."""
    summary: str = Field(default="", max_length=4000)
    """For that person."""


class ReplyExpect(Message):
    """What the caller will say next: the turn detector waits longer for the rest of a number than for a yes."""

    type: Literal["expect"] = "expect"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    kind: Expected
    """What is expected."""


class ReplyState(Message):
    """What the agent wants to know in the next request of this call."""

    type: Literal["state"] = "state"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    state: Any = None
    """Plain JSON of at most `MAX_STATE` bytes."""


class ReplyRetracted(Message):
    """All text so far was no answer: what is not spoken yet is not to be spoken."""

    type: Literal["retracted"] = "retracted"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""


class ReplyUsage(Message):
    """Tokens that the answer cost."""

    type: Literal["usage"] = "usage"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    input_tokens: int = Field(ge=0)
    """Of the request."""
    output_tokens: int = Field(ge=0)
    """Of the answer."""


class ReplyIncomplete(Message):
    """The answer ends before its end."""

    type: Literal["incomplete"] = "incomplete"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""
    reason: Literal["max_output_tokens", "content_filter"]
    """Why."""


class ReplyAlive(Message):
    """Nothing to say yet: each `ALIVE_SECONDS`. Without a number, so that a lost one is nothing."""

    type: Literal["alive"] = "alive"


class ReplyEnd(Message):
    """The answer is complete."""

    type: Literal["end"] = "end"
    number: int = Field(ge=0)
    """Counts the parts of the answer, from 0."""


class ReplyError(Message):
    """There is no answer, or no more of it."""

    type: Literal["error"] = "error"
    message: str = Field(default="", max_length=500)
    """For the log."""
    busy: bool = False
    """This instance has too much to do: ask another one."""


AnyReplyPart = (
    ReplyText
    | ReplySpeech
    | ReplyPause
    | ReplyCall
    | ReplyTool
    | ReplyHangUp
    | ReplyTransfer
    | ReplyPerson
    | ReplyExpect
    | ReplyState
    | ReplyRetracted
    | ReplyUsage
    | ReplyIncomplete
    | ReplyAlive
    | ReplyEnd
    | ReplyError
)
ReplyPart = Annotated[AnyReplyPart, Field(discriminator="type")]
REPLY_PART: Final[TypeAdapter[AnyReplyPart]] = TypeAdapter(ReplyPart)


class ReplyLimits(Message):
    """How long a bridge waits for an instance, s."""

    first: float = Field(default=8.0, gt=0, le=120)
    """Until the first part that is no sign of life."""
    between: float = Field(default=8.0, gt=0, le=120)
    """From one such part to the next."""
    whole: float = Field(default=180.0, gt=0, le=900)
    """For the whole answer, the time in which it is spoken not counted."""


class TextAgentAnnouncement(Message):
    """A text agent's instance is here: on `agent_announce`, each second and on change. Below 64 KiB as JSON."""

    agent: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The agent's name."""
    instance: str = Field(max_length=64)
    """Name of the process, unlike that of every other."""
    capacity: int = Field(default=100, ge=0)
    """Answers at once."""
    answering: int = Field(default=0, ge=0)
    """Answers under way."""
    leaving: bool = False
    """The last announcement of an orderly stop."""
    greeting: str = Field(default="", max_length=4000)
    """Said first; empty: nothing, unless `greets`."""
    greets: bool = False
    """Ask it with the event `call_started` instead."""
    instructions: str = Field(default="", max_length=32_000)
    """For its language model: the request brings them back, or what the client has set instead."""
    language: str = Field(default="", max_length=35)
    """BCP 47; empty: the bridge's."""
    voice: str = Field(default="", max_length=64)
    """Empty: the bridge's."""
    turn_detection: dict[str, Any] | None = None
    """As in the realtime protocol; None: the bridge's."""
    silence_ms: int | None = Field(default=None, ge=1000, le=600_000)
    """Silence of the caller after which it is asked with the event `silence`; None: never."""
    longest_call: float | None = Field(default=None, gt=0)
    """Seconds after which the call is ended, with a sentence; None: no bound."""
    tools: list[str] = Field(default_factory=list, max_length=128)
    """Names of its own tools, for operators."""
    speculates: bool = False
    """It wants guesses of the turn before the turn is over."""
    limits: ReplyLimits = Field(default_factory=ReplyLimits)
    """How long a bridge waits for it."""
