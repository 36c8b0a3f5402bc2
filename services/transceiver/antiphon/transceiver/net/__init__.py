"""UDP between relays and sessions: sockets, the demultiplexer, which relays may send.

Imports `session`; the demultiplexer gives packets to sessions.
"""
