"""The formats and engines of WebRTC: STUN, SDP, RTP, SRTP, DTLS, SCTP, the jitter buffer, Opus. No I/O.

Importing it loads no media library; a module that needs one loads it. Imports `antiphon.schemas` and
`antiphon.runtime`.
"""

from antiphon.runtime import absent_pyav

absent_pyav.stand_in()  # for aiortc
