"""The audio codecs that a call can have: names and numbers only, so that a reader of SDP needs no codec library."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

CodecName = Literal["opus", "PCMU", "PCMA"]

CLOCK_RATES: Final[dict[CodecName, int]] = {"opus": 48000, "PCMU": 8000, "PCMA": 8000}
"""Hz of their RTP timestamps (RFC 7587 section 4.1, RFC 3551 section 4.5.14)."""
STATIC_PAYLOAD_TYPES: Final[dict[int, CodecName]] = {0: "PCMU", 8: "PCMA"}
"""RFC 3551 section 6: they need no `a=rtpmap`."""


class Codec(NamedTuple):
    """One codec under the payload type that an offer gives it."""

    name: CodecName
    payload_type: int

    @property
    def clock_rate(self) -> int:
        """Hz, of the RTP timestamps."""
        return CLOCK_RATES[self.name]

    @property
    def rtpmap(self) -> str:
        """As the value of `a=rtpmap`."""
        channels = "/2" if self.name == "opus" else ""
        return f"{self.payload_type} {self.name}/{self.clock_rate}{channels}"
