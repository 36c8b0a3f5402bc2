"""Connections without a request's headers in time are closed; those with requests stay open."""

from __future__ import annotations

import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.signaling import SignalingProcess, until

from antiphon.signaling.connections.connection_table import HEAD_SECONDS

pytestmark = pytest.mark.process

GET = b"GET /v1/agents HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def connect(signaling: SignalingProcess) -> socket.socket:
    where = urlsplit(signaling.url)
    client = socket.create_connection((where.hostname or "", where.port or 0), timeout=3 * HEAD_SECONDS)
    client.setblocking(False)
    return client


def is_closed(client: socket.socket) -> bool:
    """By the other side; what it sends is thrown away."""
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_connection_without_complete_headers_in_time_is_closed(signaling: SignalingProcess) -> None:
    openings = {"silent": b"", "half": GET[:20], "one request and a half": GET + GET[:20], "trickling": GET[:20]}
    with contextlib.ExitStack() as clients:
        waiting = {name: clients.enter_context(connect(signaling)) for name in openings}
        for name, request in openings.items():
            waiting[name].sendall(request)

        def all_closed() -> bool:
            if "trickling" in waiting:
                with contextlib.suppress(ConnectionError):
                    waiting["trickling"].send(b"X")
            for name in [name for name, client in waiting.items() if is_closed(client)]:
                del waiting[name]
            return not waiting

        until(all_closed, f"{set(openings)} are closed", seconds=4 * HEAD_SECONDS)


@pytest.mark.nightly
def test_a_connection_that_asks_in_time_is_kept_open(signaling: SignalingProcess) -> None:
    began = time.monotonic()
    with httpx.Client(base_url=signaling.url) as client:
        with client.stream("GET", "/healthz") as first:
            used = first.extensions["network_stream"].get_extra_info("client_addr")
            first.read()
        while time.monotonic() - began < HEAD_SECONDS + 1:
            with client.stream("GET", "/healthz") as response:
                assert response.extensions["network_stream"].get_extra_info("client_addr") == used
                response.read()
            time.sleep(1)
