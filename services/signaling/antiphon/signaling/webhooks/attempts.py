"""What becomes of a webhook after an attempt: delivered, given up, or repeated after which time. Pure."""

from __future__ import annotations

import random
from typing import Final, Literal, NamedTuple

FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 60.0
"""Between two attempts: doubled each time up to here. An endpoint that is back gets its notices within a minute."""
GONE: Final = 410
"""The endpoint wants this notice no more: it is not repeated. The next ones are sent all the same, because a wrong
answer of one deployment must not end notices for good."""

Result = Literal["delivered", "retried", "failed"]


class Verdict(NamedTuple):
    """A value."""

    result: Result
    delay: float = 0.0
    """Seconds until the next attempt."""


def judge(status: int | None, attempt: int, age: float, retry_seconds: float, retry_after: float | None) -> Verdict:
    """`status`: of HTTP; None: no answer. `attempt`: from 1. `age`: seconds since the notice was written.

    `retry_after`: seconds that the endpoint asks for.
    """
    if status is not None and 200 <= status < 300:
        return Verdict("delivered")
    delay = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    delay *= random.uniform(0.5, 1.0)  # the notices of an endpoint that is back do not come all at once
    if retry_after is not None:
        delay = min(MOST_SECONDS * 5, max(delay, retry_after))
    if status == GONE or age + delay > retry_seconds:
        return Verdict("failed")
    return Verdict("retried", delay)


class Gaps:
    """Counts notices that the full stream has dropped before they were delivered.

    Owner: the consumer's loop. The stream's numbers have gaps where the oldest went. They show between two deliveries
    that follow each other; another replica may have got one of them, so with several it is the least.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._delivery = 0
        self._newest = 0

    def delivered(self, delivery: int, number: int) -> None:
        """The consumer's `delivery`-th delivery has this number in the stream."""
        if self._delivery and delivery == self._delivery + 1 and number > self._newest + 1:
            self.dropped += number - self._newest - 1
        self._delivery = delivery
        self._newest = max(self._newest, number)
