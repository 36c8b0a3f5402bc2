"""Whether the models can answer one more conversation in time: what callers wait for, and what one more adds. Pure.

Two numbers decide. What callers have waited for each model lately, requests that still wait included: it fades, so that
a model which is quick again is found out. And what the conversations that are about to speak add if they do so at once:
a burst of calls is refused before the first of them has spoken.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Final, Literal

Model = Literal["stt", "agent", "tts"]

NAMES: Final[dict[Model, str]] = {"stt": "speech to text", "agent": "the language model", "tts": "speech"}
HALF_SECONDS: Final = 5.0
"""In which a measured wait fades to its half."""
KEPT_SECONDS: Final = 20.0
"""After which it is forgotten."""
KEPT: Final = 64
"""Measured waits of one model."""
TYPICAL: Final = 0.75
"""Of these so many are not longer than the wait that counts: one request that hangs is not a slow model."""
STUCK_SECONDS: Final = 15.0
"""A request that waits for longer counts as one that took so long, and no more."""
MAX_OPEN: Final = 1024
"""Requests that wait; the oldest are forgotten."""
FIRST_WORK: Final[dict[Model, float]] = {"stt": 0.3, "agent": 0.0, "tts": 0.15}
"""Seconds of one request, as long as none was measured."""
WEIGHT: Final = 0.1
"""Of one request in what requests take."""
FRESH_SHARE: Final = 0.65
"""Of the calls that are about to speak: as many may do so in the same moment. On two cores it gives six calls of a
burst (`antiphon bench admission`)."""
FRESH_SECONDS: Final = 20.0
"""For which a new call counts as one that is about to speak; then it is a quiet one, until it does."""
ACTIVE_SECONDS: Final = 30.0
"""Likewise after its last turn for one that takes part in a conversation."""
ACTIVE_SHARE: Final = 0.5
"""Of the conversations that run: as many as may speak at once."""
QUIET_SHARE: Final = 0.1
"""Of the calls in which nobody speaks."""
OPEN_BELOW: Final = 0.8
"""Of the limit: models that were too slow have to be that quick again."""
PROBE_SECONDS: Final = 5.0
"""While nothing is known of models that were too slow, one call in so many seconds finds out."""


class Waits:
    """What callers have waited for one model, and what its requests take.

    Owned by `ModelLoad`. Event loop only.
    """

    def __init__(self, work: float, parallel: int) -> None:
        """`work`: seconds of a request before any was measured. `parallel`: requests that it serves at once."""
        self.work, self._measured = work, False
        self.parallel = parallel
        self._done: deque[tuple[float, float]] = deque(maxlen=KEPT)
        """When, and how long it took."""
        self._open: OrderedDict[int, float] = OrderedDict()
        self._next = 0

    def began(self, now: float) -> int:
        """A caller waits from now on; the number is for `ended` or `dropped`."""
        self._next += 1
        self._open[self._next] = now
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return self._next

    def ended(self, number: int, now: float) -> None:
        """The result is there. Nothing for a number that has ended."""
        since = self._open.pop(number, None)
        if since is not None:
            self._done.append((now, now - since))

    def dropped(self, number: int) -> None:
        """Nobody waits any more."""
        self._open.pop(number, None)

    def took(self, seconds: float) -> None:
        """A request took so long without waiting."""
        self.work += (seconds - self.work) * (WEIGHT if self._measured else 1.0)
        self._measured = True

    def typical(self, now: float) -> float:
        """Seconds that callers wait, as it seems now."""
        while self._open and now - (first := next(iter(self._open.values()))) > STUCK_SECONDS:
            self._open.popitem(last=False)
            self._done.append((first + STUCK_SECONDS, STUCK_SECONDS))
        while self._done and now - self._done[0][0] > KEPT_SECONDS:
            self._done.popleft()
        done = [seconds * 0.5 ** ((now - at) / HALF_SECONDS) for at, seconds in self._done]
        usual = _of(done, TYPICAL)
        return _of(done + [age for since in self._open.values() if (age := now - since) > usual], TYPICAL)

    def newest(self) -> float:
        """When the last result came."""
        return self._done[-1][0] if self._done else -math.inf


class ModelLoad:
    """The waits of all models and the calls that use them: the decision whether one more is taken.

    Owner: the bridge, for the life of the process. Event loop only.
    """

    def __init__(self, limit: float, parallel: dict[Model, int]) -> None:
        """`limit`: seconds that a caller may wait for the models together; 0: there is no bound. `parallel`: requests
        that each serves at once."""
        self._limit = limit
        self.waits: dict[Model, Waits] = {name: Waits(FIRST_WORK[name], parallel[name]) for name in NAMES}
        self._calls: dict[str, tuple[float, bool]] = {}
        """When each was taken, or spoke last, and whether it has spoken."""
        self._slow: tuple[Model, float] | None = None
        """The model that was too slow for more calls, and when it was last; None: none is."""
        self._probed_at = -math.inf

    def call_began(self, session_id: str, now: float) -> None:
        """It counts as one that is about to speak."""
        self._calls[session_id] = now, False
        if self._slow is not None:
            self._probed_at = now

    def call_ended(self, session_id: str) -> None:
        """It uses no models any more."""
        self._calls.pop(session_id, None)

    def spoke(self, session_id: str, now: float) -> None:
        """The words of one of its turns are known."""
        if session_id in self._calls:
            self._calls[session_id] = now, True

    def measured(self, now: float) -> float:
        """Seconds that callers wait for all models, as it seems now."""
        return sum(each.typical(now) for each in self.waits.values())

    def expected(self, now: float) -> float:
        """Seconds that callers would wait for all models, with one more call, if many of them spoke at once."""
        each = sum(waits.work / waits.parallel for waits in self.waits.values())
        fresh, active, quiet = self._counts(now)
        return each * (FRESH_SHARE * (fresh + 1) + ACTIVE_SHARE * active + QUIET_SHARE * quiet)

    def refusal(self, now: float) -> tuple[str, int]:
        """Why one more call is not taken, and after how many seconds to try again; an empty text: it is taken."""
        if not self._limit:
            return "", 0
        measured = self.measured(now)
        self._judge(measured, now)
        if not self._calls:
            return "", 0  # there is no load that another try would find smaller
        if self._slow is not None:
            name, _ = self._slow
            unknown = self.waits[name].newest() < now - HALF_SECONDS
            fresh = self._counts(now)[0]
            if unknown and measured <= self._limit and not fresh and now - self._probed_at >= PROBE_SECONDS:
                return "", 0
            return f"callers wait {measured:.1f} s for the models, most for {NAMES[name]}", self._retry(measured)
        expected = self.expected(now)
        if expected > self._limit:
            return f"with one more call callers would wait {expected:.1f} s for the models", self._retry(expected)
        return "", 0

    def _judge(self, measured: float, now: float) -> None:
        """Slow above the limit; quick again when results below it have come since."""
        if measured > self._limit:
            self._slow = max(self.waits, key=lambda each: self.waits[each].typical(now)), now
        elif self._slow is not None and measured <= self._limit * OPEN_BELOW:
            name, since = self._slow
            if self.waits[name].newest() > since:
                self._slow = None

    def _counts(self, now: float) -> tuple[int, int, int]:
        """Calls that are about to speak for the first time, that speak, and that are quiet."""
        fresh = sum(not spoken and now - at < FRESH_SECONDS for at, spoken in self._calls.values())
        active = sum(spoken and now - at < ACTIVE_SECONDS for at, spoken in self._calls.values())
        return fresh, active, len(self._calls) - fresh - active

    def _retry(self, seconds: float) -> int:
        """Until as long a wait has faded to the limit; at least 2 s, at most 15."""
        return min(15, max(2, math.ceil(HALF_SECONDS * math.log2(max(1.0, seconds / self._limit)))))


def _of(values: list[float], share: float) -> float:
    """So many of the values are not above this one; 0 if there are none."""
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0
