"""Judges the parts of one instance's answer as they come: their order, their amount, their time. Pure, takes `now`.

An instance may be paused, buggy or hostile. Whatever it sends costs its own call at most an apology: what can't be a
part, comes twice, is missing, or is too much ends the answer, and nothing of it is read any more. Time counts only
while the call waits for a part; while earlier ones are being spoken the instance may take its time.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple

from antiphon.schemas import messages
from antiphon.schemas.errors import MalformedError

SILENT_SECONDS: Final = 2.0
"""Without a part or a sign of life: the instance is gone, or paused."""
SILENT_AGAIN_SECONDS: Final = 1.0
"""Likewise for the first sign of one that is asked in place of another: the caller has waited already."""
LATE_SECONDS: Final = 0.25
"""A time limit that is noticed so much later was missed by this process itself: what came meanwhile is not read yet."""
GRACE_SECONDS: Final = 1.0
"""For that."""
MAX_PARTS: Final = 20_000
"""Of one answer."""
MAX_PART_BYTES: Final = 256 * 1024
"""Of one part as JSON: the largest speech part has 175 KiB, and its words may be escaped."""
MAX_BYTES: Final = 48 * 1024 * 1024
"""Of one answer: five minutes of speech at 48 kHz."""
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""Of parts that came and were not used yet: two minutes of speech at 24 kHz. A faster instance has to wait itself."""
SIGNS_PER_SECOND: Final = 10
"""Signs of life above `SIGNS_AT_ONCE` that are read: five times what is agreed."""
SIGNS_AT_ONCE: Final = 50


class Why(Enum):
    """Why an answer ended before its end."""

    NOBODY = auto()
    """No instance is there at all."""
    BUSY = auto()
    """This instance has too much to do."""
    UNANSWERED = auto()
    """The one that NATS chose gave no sign of life at all: another one may."""
    GONE = auto()
    """It gave no more signs of life, or a part was lost: another one may go on."""
    RUBBISH = auto()
    """What it sends is no answer, or is too much."""
    FAILED = auto()
    """It says that it has no answer."""
    LATE = auto()
    """It is there, and takes longer than its limits."""


class AnswerEndedError(Exception):
    """The answer of one instance ended before its end: `why`. The text is for the log."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why


class TimeLimits(NamedTuple):
    """How long the call waits, s. A value; `messages.ReplyLimits` says what each means."""

    first: float
    between: float
    whole: float

    @classmethod
    def of(cls, limits: messages.ReplyLimits) -> TimeLimits:
        """Those that an agent has announced."""
        return cls(limits.first, limits.between, limits.whole)


class AnswerReader:
    """One answer of one instance.

    Owned by the `stream` that asks for it; used on the event loop. `receive` takes what comes, `take` gives it out in
    order. Between `wait` and `waited` the call waits for a part, until `due` at the latest.
    """

    def __init__(self, limits: TimeLimits, now: float, again: bool = False) -> None:
        """`limits`: of the agent. `now`: the question is asked. `again`: another instance was asked before."""
        self._limits, self._left, self._began = limits, limits.whole, now
        self._parts: deque[tuple[messages.AnyReplyPart, int]] = deque()
        self._waiting_bytes = self._bytes = self._number = self._signs = 0
        self._sign_at = self._waits_since = now
        self._sign_within = SILENT_AGAIN_SECONDS if again else SILENT_SECONDS
        self._has_content = self._ended = self._was_late = False
        self._failure: AnswerEndedError | None = None

    # ---- what comes --------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """One message on the answer's subject."""
        if self.is_over:
            return
        try:
            part = self._read(data, now)
        except (MalformedError, AnswerEndedError) as error:
            why = error.why if isinstance(error, AnswerEndedError) else Why.RUBBISH
            self._failure = AnswerEndedError(why, str(error))
            return
        self._sign_at, self._sign_within = now, SILENT_SECONDS
        if part is not None:
            self._parts.append((part, len(data)))
            self._waiting_bytes += len(data)
            self._ended = isinstance(part, messages.ReplyEnd)

    def undelivered(self) -> None:
        """NATS says that nobody is there to be asked."""
        if not self.is_over:
            self._failure = AnswerEndedError(Why.NOBODY, "no instance is there")

    def _read(self, data: bytes, now: float) -> messages.AnyReplyPart | None:
        if len(data) > MAX_PART_BYTES:
            raise MalformedError(f"a part of {len(data)} bytes: at most {MAX_PART_BYTES} are read")
        part = messages.decode_any(data, messages.REPLY_PART, "ReplyPart")
        if isinstance(part, messages.ReplyAlive):
            self._signs += 1
            if self._signs > SIGNS_AT_ONCE + SIGNS_PER_SECOND * (now - self._began):
                raise MalformedError(f"{self._signs} signs of life in {now - self._began:.1f} s")
            return None
        if isinstance(part, messages.ReplyError):
            raise AnswerEndedError(Why.BUSY if part.busy else Why.FAILED, part.message or "it gave no reason")
        if part.number != self._number:
            what = "came twice, or is of another answer" if part.number < self._number else "is missing"
            number = min(part.number, self._number)
            raise AnswerEndedError(Why.GONE if part.number > self._number else Why.RUBBISH, f"part {number} {what}")
        self._number += 1
        self._bytes += len(data)
        if self._number > MAX_PARTS or self._bytes > MAX_BYTES:
            raise MalformedError(f"an answer of more than {MAX_PARTS} parts or {MAX_BYTES >> 20} MiB")
        if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
            raise MalformedError(f"more than {MAX_WAITING_BYTES >> 20} MiB of parts wait to be spoken")
        return part

    # ---- what is given out -------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Nothing of what comes is read any more."""
        return self._ended or self._failure is not None

    @property
    def has_part(self) -> bool:
        """`take` has something to give or to raise."""
        return bool(self._parts) or self._failure is not None

    def take(self) -> messages.AnyReplyPart | None:
        """The next part; None: wait. `AnswerEndedError` behind the last one of an answer without an end."""
        if self._parts:
            part, size = self._parts.popleft()
            self._waiting_bytes -= size
            self._has_content = True
            return part
        if self._failure is not None:
            raise self._failure
        return None

    def wait(self, now: float) -> None:
        """The call waits from now on."""
        self._waits_since = now

    def waited(self, now: float) -> None:
        """A part has come."""
        self._left -= now - self._waits_since
        self._was_late = False

    @property
    def due(self) -> float:
        """When the call has waited for too long."""
        return min(self._silent_at, self._late_at)

    @property
    def _silent_at(self) -> float:
        return self._sign_at + self._sign_within

    @property
    def _late_at(self) -> float:
        between = self._limits.between if self._has_content else self._limits.first
        return self._waits_since + min(between, max(0.0, self._left))

    def expire(self, now: float) -> None:
        """`due` has passed while the call waited: the answer has failed, unless this process itself stood still."""
        if self.has_part or now < self.due:
            return
        if now - self.due > LATE_SECONDS and not self._was_late:
            self._was_late = True
            self._waits_since += now - self.due + GRACE_SECONDS
            self._sign_at = now - self._sign_within + GRACE_SECONDS
        elif self._silent_at <= self._late_at:
            why = Why.GONE if self._signs or self._number else Why.UNANSWERED
            self._failure = AnswerEndedError(why, f"no sign of life for {self._sign_within:.0f} s")
        else:
            text = (
                "the whole answer took too long" if self._left <= now - self._waits_since else "nothing to say in time"
            )
            self._failure = AnswerEndedError(Why.LATE, text)
