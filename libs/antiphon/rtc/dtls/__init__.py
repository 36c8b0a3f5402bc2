"""DTLS 1.2 (RFC 6347): certificate and handshake by OpenSSL, the record layer after it by us. No I/O.

Imports `antiphon.rtc.rtp` for the keys of SRTP.
"""
