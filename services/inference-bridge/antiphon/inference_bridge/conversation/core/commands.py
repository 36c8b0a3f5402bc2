"""What the core wants done. Values; the shell carries them out in their order and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.inference_bridge.conversation.core.events import Outcome
from antiphon.inference_bridge.conversation.core.state import Response, StopReason, Transfer
from antiphon.inference_bridge.turns.detector import Utterance

# ---- the caller's words --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speculate:
    """Begin to transcribe: the turn may have ended. `urgent`: its words decide whether it has."""

    utterance: Utterance
    urgent: bool


@dataclass(frozen=True)
class DropSpeculation:
    """The transcription that was begun in a pause is of no use."""


@dataclass(frozen=True)
class KeepFirstWords:
    """The caller spoke on: the transcription begun in the pause may still make its first words certain."""


@dataclass(frozen=True)
class TranscribePartly:
    """Are there words in the speech so far? `PartialText` brings them."""

    utterance: Utterance


@dataclass(frozen=True)
class Transcribe:
    """A turn has ended; `TextKnown` with this key brings its text. `speculated`: what was begun in the pause is it."""

    key: int
    utterance: Utterance
    speculated: bool = False
    has_speech: bool = True
    """False: its text is empty, without a recogniser."""


@dataclass(frozen=True)
class AddKeys:
    """Put the keys that the caller has pressed on record."""

    key: int
    keys: str


@dataclass(frozen=True)
class FalseInterruption:
    """The text with this key was no turn."""

    key: int


# ---- responses -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """The client learns of a response: `response.created`."""

    response: Response


@dataclass(frozen=True)
class Ask:
    """Ask the agent for `response.text`, or take `response.fixed`, and speak it. `gated`: after `OpenGate`."""

    response: Response
    gated: bool = False


@dataclass(frozen=True)
class OpenGate:
    """The response may be heard now: the one before it was played."""

    rid: int


@dataclass(frozen=True)
class Presume:
    """Tell the agent that all of a response was played: it is, unless the caller interrupts its last words."""

    rid: int


@dataclass(frozen=True)
class SayPatience:
    """The first word is late: speak a short sign, which is not on record."""

    rid: int


@dataclass(frozen=True)
class Stop:
    """Stop making and playing a response; `Ended` says what was played of it."""

    rid: int


@dataclass(frozen=True)
class Settle:
    """A response is over: `response.done` if the client knows of it, and the agent learns what was played."""

    response: Response
    outcome: Outcome
    played: str = ""
    played_ms: int = 0
    reason: StopReason = ""
    undone: bool = False
    """As if it had never been: the agent forgets it, and its fragment goes off the record."""


@dataclass(frozen=True)
class Drop:
    """A response that the client does not know of will not be: there was nothing to answer."""

    response: Response


@dataclass(frozen=True)
class Refuse:
    """The client's event can't be carried out."""

    code: str
    text: str


# ---- the speech and the call ---------------------------------------------------------------------------


@dataclass(frozen=True)
class HoldSpeech:
    """Stop at the sample that is played now, and keep the rest."""


@dataclass(frozen=True)
class ResumeSpeech:
    """Play on from the sample at which the speech was held. `held_ms`: for the client; None: there was none left."""

    held_ms: float | None = None


@dataclass(frozen=True)
class SendAgain:
    """What was not played of a response goes to the transceiver that has the call now."""

    rid: int
    stopped_at: float


@dataclass(frozen=True)
class TellTimeout:
    """The caller has been silent for `idle_timeout_ms`."""

    idle_timeout_ms: int


@dataclass(frozen=True)
class GiveAway:
    """Ask for another agent. What becomes of it is an event, or the end of the session."""

    transfer: Transfer


@dataclass(frozen=True)
class HangUp:
    """End the call."""

    reason: str


@dataclass(frozen=True)
class Changed:
    """Another process would have to know: keep a snapshot."""


Command = (
    Speculate
    | DropSpeculation
    | KeepFirstWords
    | TranscribePartly
    | Transcribe
    | AddKeys
    | FalseInterruption
    | Begin
    | Ask
    | OpenGate
    | Presume
    | SayPatience
    | Stop
    | Settle
    | Drop
    | Refuse
    | HoldSpeech
    | ResumeSpeech
    | SendAgain
    | TellTimeout
    | GiveAway
    | HangUp
    | Changed
)
