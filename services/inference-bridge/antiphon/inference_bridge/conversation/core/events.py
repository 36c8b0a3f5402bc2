"""What happens to a call, as the core learns it. Values; the turn detector's own events are taken as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from antiphon.inference_bridge.conversation.core.state import Rules, Transfer
from antiphon.inference_bridge.turns.detector import TurnEvent, Utterance

Outcome = Literal["completed", "failed", "cancelled"]


@dataclass(frozen=True)
class Connected:
    """The caller can be spoken to. `sends_audio`: and is known to be ready, for its own audio has come."""

    sends_audio: bool = True


@dataclass(frozen=True)
class Tick:
    """Time has passed; at least each 0.1 s."""


@dataclass(frozen=True)
class RulesChanged:
    """Other settings are in force."""

    rules: Rules


@dataclass(frozen=True)
class PartialText:
    """A transcription of the beginning of speech that has not ended."""

    text: str


@dataclass(frozen=True)
class TextKnown:
    """The words of the utterance or commit with this key. `failed`: they could not be transcribed."""

    key: int
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Committed:
    """The client has ended the turn. `speaking`: the caller was speaking."""

    utterance: Utterance
    speaking: bool


@dataclass(frozen=True)
class KeyPressed:
    """A key of the caller's telephone (RFC 4733)."""

    key: str


@dataclass(frozen=True)
class TextAdded:
    """The client has put a text of the user on record."""

    text: str


@dataclass(frozen=True)
class OutputAdded:
    """The client has put the output of a function on record."""

    call_id: str


@dataclass(frozen=True)
class Create:
    """`response.create`. `aside`: out of band. `has_own_input`: it brings what it answers, or its own instructions."""

    parameters: Any = None
    aside: bool = False
    spoken: bool = True
    has_own_input: bool = False


@dataclass(frozen=True)
class Cancel:
    """`response.cancel`, `output_audio_buffer.clear`, a truncation. `rid`: None for all that is spoken."""

    rid: int | None = None
    must_exist: bool = True


@dataclass(frozen=True)
class Say:
    """Speak a fixed text now. `hang_up`: why the call ends behind it."""

    text: str
    hang_up: str = ""


@dataclass(frozen=True)
class Continue:
    """The process before us was answering this text when it ended; empty: the client had asked for an answer."""

    text: str
    preamble: str = ""


@dataclass(frozen=True)
class HoldFailed:
    """The transceiver can't hold the speech."""


@dataclass(frozen=True)
class TransceiverLost:
    """The transceiver was killed at `stopped_at` (`time.monotonic()`), and another one has the call."""

    stopped_at: float


@dataclass(frozen=True)
class FirstPart:
    """The first word or call of an answer has come."""

    rid: int


@dataclass(frozen=True)
class Spoke:
    """Words of a response were sent to the caller."""

    rid: int
    words: str


@dataclass(frozen=True)
class WordsPlayed:
    """The caller has received the first words of a response."""

    rid: int


@dataclass(frozen=True)
class Expects:
    """The agent says that this response asks for something."""

    rid: int


@dataclass(frozen=True)
class Called:
    """A response asks the client to call a function."""

    rid: int
    call_id: str


@dataclass(frozen=True)
class TransferFailed:
    """Another agent could not be had, which is on record: the agent must go on."""


@dataclass(frozen=True)
class Generated:
    """All of a response is on its way to the caller."""

    rid: int


@dataclass(frozen=True)
class Ended:
    """A response has ended by itself, or was stopped: what was played of it is known."""

    rid: int
    outcome: Outcome = "completed"
    played: str = ""
    """The words of it that were played."""
    played_ms: int = 0
    hang_up: bool = False
    """The agent wants the call to end."""
    transfer: Transfer | None = None
    """The agent wants another one to have the call."""


Event = (
    TurnEvent
    | Connected
    | Tick
    | RulesChanged
    | PartialText
    | TextKnown
    | Committed
    | KeyPressed
    | TextAdded
    | OutputAdded
    | Create
    | Cancel
    | Say
    | Continue
    | HoldFailed
    | TransceiverLost
    | FirstPart
    | Spoke
    | WordsPlayed
    | Expects
    | Called
    | TransferFailed
    | Generated
    | Ended
)
