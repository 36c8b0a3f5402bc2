"""A port of loopback that is free now. A process that can bind to port 0 itself needs none."""

from __future__ import annotations

import socket


def free_port(kind: socket.SocketKind) -> int:
    """For `SOCK_STREAM` or `SOCK_DGRAM`."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
