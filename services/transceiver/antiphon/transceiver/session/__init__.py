"""One session: the sans-IO core of ICE, DTLS, SRTP, media and data channels, and its state.

Imports `antiphon.rtc`, `ice`, `media` and `timing.pacing`.
"""
