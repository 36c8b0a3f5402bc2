"""What the core knows of one call. Plain data: transitions change it, nothing else does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Literal

from antiphon.inference_bridge.turns.detector import Utterance

MAX_WAITING: Final = 20
"""Texts that wait for an answer. Beyond it the oldest are not answered; their items stay on record."""
MAX_TEXT: Final = 4000
"""Characters that an agent is asked at once, the last of them: two minutes of speech. A typed text may be longer; it is
on record whole, and a language model reads it there."""
MAX_FOLLOWING: Final = 8
"""Responses that wait behind the one that is spoken. Above it creates are refused."""
MAX_STOPPED: Final = 16
"""Responses that were stopped, and whose end waits for that of one before them. Above it creates are refused."""
MAX_BESIDE: Final = 8
"""Out-of-band responses in text at once. Above it creates are refused."""
MAX_KEYS: Final = 64
"""Keys that are collected before they count as complete."""


StopReason = Literal["turn_detected", "client_cancelled", ""]
"""Who stopped a response: the caller or the client; empty: neither."""


@dataclass(frozen=True)
class Rules:
    """The settings that the core decides by. A value; the shell makes it from the settings in force."""

    creates_responses: bool = True
    """A turn that has ended is answered without a `response.create`."""
    interrupts: bool = True
    """The caller's speech interrupts the agent."""
    idle_timeout_ms: int | None = None
    transcribes: bool = True
    """The client gets transcription events."""
    semantic: bool = False
    """Words decide how much silence ends a turn: their transcription is urgent."""
    spoken: bool = True
    """Answers are audio, unless a response asks for something else."""
    language: str = "en"
    patience_ms: int = 2500
    """Time after which a caller whose answer is late gets a spoken sign; 0: never."""
    silence_ms: int | None = None
    """As `idle_timeout_ms`, wanted by the agent and not by the client: the client is told nothing of it."""
    silence_prompts: tuple[str, ...] = ()
    """What is said then, one after the other; empty: the agent is asked."""


@dataclass(frozen=True)
class Transfer:
    """Which agent is to have the call next. A value."""

    agent: str
    summary: str = ""
    """For that agent, which gets the conversation besides."""
    silent: bool = False
    """It does not greet."""


@dataclass(eq=False)
class Words:
    """One text of the caller: a turn, a typed message, keys. `text` is None while it is being transcribed."""

    key: int
    text: str | None = None
    failed: bool = False
    """It could not be transcribed."""
    speech_ms: float = 0.0
    speech_end: int = 0
    """Sample at which the speech ended; 0 for texts that were not spoken."""
    has_interrupted: bool = False
    """Spoken while the agent spoke, and stopped it."""
    is_keys: bool = False
    """Pressed, not spoken."""
    carried: bool = False
    """Of a turn that was undone: it is answered with the next one."""
    may_be_answer: bool = False
    """Agreement over the last words of a statement: it is answered if the agent ends right behind it."""
    decides: bool = False
    """Ended while the agent's speech was held: its text says what happens to that speech."""

    @property
    def is_known(self) -> bool:
        """There is a text, or there never will be one."""
        return self.text is not None


class Kind(Enum):
    """Where a response comes from."""

    TURN = auto()
    """The caller's turn has ended."""
    CLIENT = auto()
    """`response.create`."""
    FIXED = auto()
    """A fixed text, such as an apology before hanging up."""
    GREETING = auto()
    PROMPT = auto()
    """The caller has been silent for `idle_timeout_ms`."""
    NOTICE = auto()
    """Something is on record that the agent must speak about, such as a transfer that failed."""


class Phase(Enum):
    """Where a response is. `ALLOWED` says what may follow what."""

    QUEUED = auto()
    """Behind another one that is spoken."""
    WAITING = auto()
    """For the texts that it answers, and for responses before it that are being stopped."""
    GENERATING = auto()
    """The agent was asked, or a fixed text is being spoken."""
    PLAYING = auto()
    """All of it is on its way to the caller."""
    STOPPING = auto()
    """It was stopped; what was played of it is not known yet."""
    DONE = auto()


ALLOWED: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.QUEUED: frozenset({Phase.WAITING, Phase.DONE}),
    Phase.WAITING: frozenset({Phase.GENERATING, Phase.DONE}),
    Phase.GENERATING: frozenset({Phase.PLAYING, Phase.STOPPING, Phase.DONE}),
    Phase.PLAYING: frozenset({Phase.STOPPING, Phase.DONE}),
    Phase.STOPPING: frozenset({Phase.DONE}),
    Phase.DONE: frozenset(),
}


@dataclass(eq=False)
class Response:
    """One response, from its creation to `DONE`."""

    rid: int
    kind: Kind
    began: float
    texts: list[Words] = field(default_factory=list)
    """What it answers."""
    fixed: str = ""
    """Spoken without asking the agent."""
    preamble: str = ""
    """Spoken before the agent's answer."""
    parameters: Any = None
    """What the client wants different; the core passes it on unread."""
    by_client: bool = False
    """Of a `response.create`: the client learns of it before the agent is asked."""
    on_record: bool = True
    spoken: bool = True
    beside: bool = False
    """Out of band and in text: it runs beside the speech."""
    hang_up: str = ""
    """Why the call ends behind it; empty: it does not."""
    phase: Phase = Phase.WAITING
    created: bool = False
    """The client knows of it."""
    asked: bool = False
    """The agent was asked: it must learn what was played."""
    text: str = ""
    """What the agent was asked."""
    asks: bool = False
    """The agent says that it asks for something; else that is read off its words."""
    written: str = ""
    """The words that were sent to the caller so far."""
    first_part: bool = False
    """Its first word, or a call, has come."""
    words_played: bool = False
    """The caller has received words of it."""
    signed: bool = False
    """The caller got a sign that it takes longer."""
    late_since: float = 0.0
    """Since when the caller waits for its first word."""
    stop_reason: StopReason = ""
    repaired: bool = False
    """It answers a turn that went on: it is undone, and its text is answered with what follows."""
    gated: bool = False
    """It is prepared behind another one, which must be played first."""
    outputs_seen: int = 0
    """Outputs of functions that were on record when the agent was asked."""
    presumed: bool = False
    """The agent was told that all of it was played, before it was: the next response is prepared meanwhile."""

    def move(self, to: Phase) -> None:
        """Go on to another phase; an error of ours where `ALLOWED` does not have it."""
        if to not in ALLOWED[self.phase]:
            raise AssertionError(f"response {self.rid}: {self.phase.name} -> {to.name}")
        self.phase = to

    @property
    def is_generating(self) -> bool:
        """More of it may come."""
        return self.phase in (Phase.QUEUED, Phase.WAITING, Phase.GENERATING)


class HoldPhase(Enum):
    """What the caller's sound does to the agent's speech at this moment."""

    FREE = auto()
    """Nothing: the speech is not held."""
    HOLDING = auto()
    """The speech is held, and the caller makes a sound."""
    DECIDING = auto()
    """The speech is held, the sound has ended, and its text is awaited."""


@dataclass
class Hold:
    """The agent's speech is held until it is known what the caller's sound was."""

    phase: HoldPhase = HoldPhase.FREE
    since: float = 0.0
    """When the speech was held."""
    silent_since: float = 0.0
    """When the caller fell silent."""
    texts_due: int = 0
    """Utterances that have ended and whose text is not known yet."""
    is_noise: bool = False
    """The sound under way is known to be a noise: it does not hold the speech a second time."""

    @property
    def is_held(self) -> bool:
        """The transceiver was asked to hold the speech."""
        return self.phase is not HoldPhase.FREE


@dataclass
class State:
    """All of one call. Made with the call's `ConversationCore`, which owns it."""

    rules: Rules = field(default_factory=Rules)
    greeting: str = ""
    greets: bool = False
    """The agent is asked for the greeting."""
    greeted: bool = False
    ends_at: float | None = None
    """When the call has lasted as long as its agent wants calls to last; None: never."""
    last_words: bool = False
    """The sentence that ends such a call was begun."""
    connected_at: float | None = None
    """When the call was connected, for a caller of whom no audio has come yet."""
    scripted: bool = False
    """The agent can't greet when a client's text asks for it: our greeting goes before its first answer."""
    hold: Hold = field(default_factory=Hold)
    speaking: bool = False
    """The caller makes a sound."""
    onset: int = 0
    """Sample at which that sound began, or the first of those that hold the speech."""
    has_interrupted: bool = False
    """The sound under way has stopped the agent."""
    speculated: Utterance | None = None
    """Of what a transcription was begun in a pause."""
    waiting: list[Words] = field(default_factory=list)
    """Texts that no response has taken, in the order in which they came."""
    undecided: list[Words] = field(default_factory=list)
    """Texts that decide about held speech, and what may be an answer."""
    speech: deque[Response] = field(default_factory=deque)
    """The response that is spoken or prepared, and those that wait behind it."""
    next: Response | None = None
    """A turn that waits for the end of all speech, where callers can't interrupt."""
    stopping: dict[int, Response] = field(default_factory=dict)
    deferred: list[Any] = field(default_factory=list)
    """Commands that end responses which were stopped while another one was being stopped."""
    beside: dict[int, Response] = field(default_factory=dict)
    idle_since: float | None = None
    """When the last sound of either side ended; None while a response is under way."""
    prompts: int = 0
    """Times in a row that the agent spoke to a silent caller."""
    resumed_at: float = float("-inf")
    """When held speech went on last."""
    pending_calls: dict[str, float] = field(default_factory=dict)
    """Function calls without an output, and when they were told."""
    notice_due: bool = False
    """Something is on record that the agent must speak about, and it has not been asked since."""
    new_outputs: int = 0
    """Outputs of functions that no create has taken."""
    keys: str = ""
    """Pressed, and not complete yet."""
    key_at: float = 0.0
    counter: int = 0

    @property
    def current(self) -> Response | None:
        """The response that is spoken or prepared."""
        return self.speech[0] if self.speech else None

    def new_id(self) -> int:
        """The next number of a response or text."""
        self.counter += 1
        return self.counter
