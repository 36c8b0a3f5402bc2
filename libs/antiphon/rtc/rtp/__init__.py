"""RTP and RTCP packets (RFC 3550) and their protection (RFC 3711, RFC 7714). No I/O.

Imports nothing of ours but `antiphon.schemas`.
"""
