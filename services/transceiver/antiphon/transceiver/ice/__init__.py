"""ICE lite (RFC 8445): checks of the client, the path that answers take, consent (RFC 7675). No I/O.

Imports `antiphon.rtc` and the session's state.
"""
