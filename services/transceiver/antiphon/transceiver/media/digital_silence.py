"""Frames of zeros need not be sent: an agent that publishes them all the time is silent. Pure.

Some agents fill every pause with zeros. To encode them costs as much as speech, and in a call with loss three times as
much; they say nothing that the client can't make up. So they count as played and are not sent, as in discontinuous
transmission (RFC 7587 section 3.1.3), but for the first ones: by them the client hears the end of the speech.
"""

from __future__ import annotations

from typing import Final

SENT: Final = 10
"""Frames of zeros behind speech that are sent."""
_ZEROS: Final = {length: bytes(length) for length in (320, 640, 960, 1920)}
"""By octets of 20 ms at each rate of frames."""


class DigitalSilence:
    """Owner: an `AudioSender`, for its whole life."""

    def __init__(self) -> None:
        self._zeros = 0

    def is_passed_over(self, pcm: bytes) -> bool:
        """Whether this frame, the next one, is not to be sent."""
        if pcm != _ZEROS.get(len(pcm)):
            self._zeros = 0
            return False
        self._zeros += 1
        return self._zeros > SENT
