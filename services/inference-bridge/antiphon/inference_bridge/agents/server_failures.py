"""What a failed request to a chat server means: worth another try, when, and for how long. Pure."""

from __future__ import annotations

import re
from typing import Final

import httpx2

from antiphon.inference_bridge.agents.chat_client import MAX_ERROR_BYTES, StatusError

PAUSES: Final = (0.1, 0.3, 1.0, 2.0)
"""Seconds before the next tries, where the server does not say; the last one from then on."""
FEW: Final = 2
"""Further tries after a failure that waiting does not help."""
REFUSED_SECONDS: Final = 2.0
"""A server that refuses connections may be starting anew; loading takes longer than a caller waits for a dead one."""
_LOADING: Final = re.compile(r"\bload(ing|s)?\b|warming up|starting|not ready|cold start|initiali[sz]", re.IGNORECASE)
_NO_QUOTA: Final = re.compile(r"insufficient_quota|billing|credit|payment", re.IGNORECASE)
_PASSES: Final = (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)


class Failure(Exception):
    """A request that failed.

    Raised and caught inside of `LanguageModel`, which decides by it whether to ask again.
    """

    def __init__(self, text: str, tries: int = 0, within: float = 0.0, pause: float | None = None) -> None:
        """`tries`: how many more are worth while. `within`: seconds since the question in which they may begin.

        `pause`: seconds before the next one, if the server has said so.
        """
        super().__init__(text)
        self.tries, self.within, self.pause = tries, within, pause

    def pause_before(self, attempt: int) -> float:
        """Seconds to wait before the next try, of which this is the number, from 0 on."""
        return self.pause if self.pause is not None else PAUSES[min(attempt, len(PAUSES) - 1)]


def of_status(error: StatusError, timeout: float, load_timeout: float) -> Failure:
    """An error status. `timeout`: for a busy server. `load_timeout`: for one that loads its model."""
    if error.status not in _PASSES or len(error.text) >= MAX_ERROR_BYTES:
        return Failure(str(error))
    if error.status == 429 and _NO_QUOTA.search(error.text):
        return Failure(str(error))
    within = load_timeout if error.status == 503 and _LOADING.search(error.text) else timeout
    few = error.status == 500 or error.status in (408, 409)
    return Failure(str(error), FEW if few else 1000, within, error.retry_after)


def of_transport(error: Exception, timeout: float) -> Failure:
    """A connection that could not be made, or ended."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Failure(text, FEW, min(timeout, REFUSED_SECONDS))
    cut = isinstance(error, httpx2.ReadError | httpx2.WriteError | httpx2.CloseError) or (
        isinstance(error, httpx2.RemoteProtocolError) and re.search(r"disconnected|closed connection|incomplete", text)
    )
    return Failure(text, FEW if cut else 0, timeout)
