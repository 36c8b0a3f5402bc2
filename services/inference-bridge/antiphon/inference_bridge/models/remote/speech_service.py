"""What is wrong with a speech service by URL, in one line, and what the operator can do. Pure."""

from __future__ import annotations

import email.utils
import time
from typing import Final

import httpx2

MAX_WAIT: Final = 1.0
"""Seconds of `Retry-After` that a caller waits for; a longer one is a failure."""
_SHOWN: Final = 200


class SpeechServiceError(Exception):
    """A service did not synthesise a clause. `what` names no address: the stack's public health page shows it."""

    def __init__(self, what: str, fix: str, again: bool = False, wait: float = 0.0, lasting: bool = False) -> None:
        """`again`: another try may help, after `wait` seconds. `lasting`: only the operator can mend it."""
        super().__init__(f"{what}. {fix}")
        self.what, self.fix, self.again, self.wait, self.lasting = what, fix, again, wait, lasting


def refused(response: httpx2.Response, said: str, model: str, voice: str, keyed: bool) -> SpeechServiceError:
    """What a status that is no success means. `said`: its text. `keyed`: a key was sent."""
    status, says = response.status_code, f"It says: {said[:_SHOWN]}" if said else "It says nothing more."
    if status in (401, 403):
        fix = "Correct ANTIPHON_TTS_API_KEY." if keyed else "Set ANTIPHON_TTS_API_KEY."
        return SpeechServiceError(f"it does not accept the key (status {status})", f"{fix} {says}", lasting=True)
    if status == 404:
        if "model" in said.lower():
            fix = f"Load it there, or correct ANTIPHON_TTS_MODEL. {says}"
            return SpeechServiceError(f"it has no model {model} (status 404)", fix, lasting=True)
        if "voice" in said.lower():
            return SpeechServiceError(
                f"it has no voice {voice} (status 404)", f"Correct ANTIPHON_VOICE. {says}", lasting=True
            )
        return SpeechServiceError(
            "it has no audio/speech (status 404)",
            "Correct ANTIPHON_TTS_URL; most such URLs end in /v1, without audio/speech.",
            lasting=True,
        )
    if status == 429:
        wait = retry_after(response.headers.get("retry-after", ""), time.time())
        again = wait is None or wait <= MAX_WAIT
        fix = f"Its limit is reached: ask for a higher one, or take fewer calls. {says}"
        return SpeechServiceError("it has too many requests (status 429)", fix, again, wait or 0.2)
    if 300 <= status < 400:
        there = response.headers.get("location", "?")[:_SHOWN]
        fix = f"No redirect is followed: set ANTIPHON_TTS_URL to the address that it names, {there}, if that is right."
        return SpeechServiceError(f"it redirects (status {status})", fix, lasting=True)
    if status in (400, 422):
        fix = f"Is ANTIPHON_VOICE ({voice}) or ANTIPHON_TTS_MODEL ({model}) wrong? {says}"
        return SpeechServiceError(f"it refuses the request (status {status})", fix, lasting=True)
    return SpeechServiceError(f"it answers with status {status}", says, again=status >= 500, lasting=status < 500)


def unreachable(error: Exception, url: str) -> SpeechServiceError:
    """What a failed connection means."""
    if isinstance(error, httpx2.ConnectTimeout):
        return SpeechServiceError("it can't be reached (timeout)", f"Does it run, and is {url} right?")
    if isinstance(error, httpx2.TimeoutException):
        return SpeechServiceError("it does not answer in time", "Is it overloaded, or still loading its model?")
    if isinstance(error, httpx2.ConnectError):
        text = " ".join(str(error).split())[:_SHOWN]
        return SpeechServiceError(f"it can't be reached ({text})", f"Does it run, and is {url} right?", again=True)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | ValueError):
        return SpeechServiceError(f"its address can't be used ({error})", "Correct ANTIPHON_TTS_URL.", lasting=True)
    text = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    return SpeechServiceError(f"its answer is cut off or no HTTP ({text})", "Its log may say why.", again=True)


def retry_after(value: str, now: float) -> float | None:
    """Seconds of the header `Retry-After` (RFC 9110, 10.2.3), a number or a date; None for none."""
    value = value.strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None
