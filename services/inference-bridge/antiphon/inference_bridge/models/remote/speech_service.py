"""What is wrong with a speech service by URL, in one line, and what the operator can do. Pure.

For both kinds: one that transcribes, and one that synthesises.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import httpx2

from antiphon.inference_bridge.retry_after import seconds_of

MAX_WAIT: Final = 1.0
"""Seconds of `Retry-After` that a caller waits for; a longer one is a failure."""
SHOWN: Final = 200
"""Characters of what a service says that an error repeats."""
_PAUSE: Final = 0.2
"""Seconds before the next try at a service with too many requests that names none."""


class SpeechServiceError(Exception):
    """A service did not do what it was asked. `what` names no address: the stack's public health page shows it."""

    def __init__(self, what: str, fix: str, again: bool = False, wait: float = 0.0, lasting: bool = False) -> None:
        """`again`: another try may help, after `wait` seconds. `lasting`: only the operator can mend it."""
        super().__init__(f"{what}. {fix}")
        self.what, self.fix, self.again, self.wait, self.lasting = what, fix, again, wait, lasting


@dataclass(frozen=True)
class ServiceNames:
    """How errors name one service. A value."""

    title: str
    """Such as `speech service`."""
    settings: str
    """What its settings begin with, such as `ANTIPHON_TTS`."""
    path: str
    """Behind the URL of the API."""
    model: str
    url: str
    keyed: bool
    """A key is sent."""

    def refused(self, response: httpx2.Response, said: str, wrong: str) -> SpeechServiceError:
        """What a status that is no success means. `said`: its text. `wrong`: a question, what the request may have."""
        status, says = response.status_code, says_of(said)
        if status in (401, 403):
            fix = f"{'Correct' if self.keyed else 'Set'} {self.settings}_API_KEY. {says}"
            return SpeechServiceError(f"it does not accept the key (status {status})", fix, lasting=True)
        if status == 404 and "model" in said.lower():
            fix = f"Load it there, or correct {self.settings}_MODEL. {says}"
            return SpeechServiceError(f"it has no model {self.model} (status 404)", fix, lasting=True)
        if status == 404:
            fix = f"Correct {self.settings}_URL; most such URLs end in /v1, without {self.path}."
            return SpeechServiceError(f"it has no {self.path} (status 404)", fix, lasting=True)
        if status == 429:
            wait = seconds_of(response.headers.get("retry-after", ""), time.time())
            fix = f"Its limit is reached: ask for a higher one, or take fewer calls. {says}"
            again = wait is None or wait <= MAX_WAIT
            return SpeechServiceError("it has too many requests (status 429)", fix, again, wait or _PAUSE)
        if 300 <= status < 400:
            there = response.headers.get("location", "?")[:SHOWN]
            setting = f"{self.settings}_URL"
            fix = f"No redirect is followed: set {setting} to the address that it names, {there}, if that is right."
            return SpeechServiceError(f"it redirects (status {status})", fix, lasting=True)
        if status in (400, 422):
            return SpeechServiceError(f"it refuses the request (status {status})", f"{wrong} {says}", lasting=True)
        return SpeechServiceError(f"it answers with status {status}", says, again=status >= 500, lasting=status < 500)

    def unreachable(self, error: Exception) -> SpeechServiceError:
        """What a failed connection means."""
        text = " ".join(str(error).split())[:SHOWN] or type(error).__name__
        where = f"Does it run, and is {self.url} right?"
        if isinstance(error, httpx2.ConnectTimeout):
            return SpeechServiceError("it can't be reached (timeout)", where)
        if isinstance(error, httpx2.TimeoutException):
            return SpeechServiceError("it does not answer in time", "Is it overloaded, or still loading its model?")
        if isinstance(error, httpx2.ConnectError):
            return SpeechServiceError(f"it can't be reached ({text})", where, again=True)
        if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | ValueError):
            fix = f"Correct {self.settings}_URL."
            return SpeechServiceError(f"its address can't be used ({text})", fix, lasting=True)
        return SpeechServiceError(f"its answer is cut off or no HTTP ({text})", "Its log may say why.", again=True)


def says_of(said: str) -> str:
    """A sentence with the words of the service itself."""
    return f"It says: {said[:SHOWN]}" if said else "It says nothing more."
