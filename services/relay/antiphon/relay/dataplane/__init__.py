"""A worker process: sockets, batches of packets, ICE over TCP. It decides by `core`.

Imports `core` and the messages of `control.ipc`.
"""
