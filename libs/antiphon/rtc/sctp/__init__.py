"""SCTP over DTLS (RFC 8261) and its data channels (RFC 8831, RFC 8832), bounded. No I/O.

Imports `antiphon.rtc` and `antiphon.runtime`.
"""
