"""Audio of one session: received packets to frames, frames to packets, reports. No I/O.

Imports `antiphon.rtc`, `timing.pacing` and the session's state.
"""
