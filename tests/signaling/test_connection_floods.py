"""Floods of connections push out one another: another client is answered, and the log stays short."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.signaling import SignalingProcess, signaling_process, until
from websockets.sync.client import connect as connect_websocket

from antiphon.signaling.connections.connection_table import MAX_CONNECTIONS, PER_ADDRESS

pytestmark = pytest.mark.process

GET = b"GET /v1/agents HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SLOW_HEAD = GET[:30]
SLOW_BODY = (
    b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


def connect(service: SignalingProcess, source: str = "127.0.0.1") -> socket.socket:
    where = urlsplit(service.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=10, source_address=(source, 0))


def ask(client: socket.socket) -> bytes:
    """The first octets of the answer; empty where the connection is closed."""
    try:
        client.sendall(GET)
        return client.recv(65536)
    except ConnectionError:
        return b""


def still_open(clients: list[socket.socket]) -> int:
    """How many the server has not closed; nothing has been asked on them."""
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN | select.POLLHUP)
    return len(clients) - len(poll.poll(0))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_address_holds_64_connections_and_closes_its_own_oldest(signaling: SignalingProcess) -> None:
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(connect(signaling, "127.0.0.8"))
        mine = [stack.enter_context(connect(signaling)) for _ in range(PER_ADDRESS + 6)]
        until(lambda: still_open(mine) == PER_ADDRESS, "the address is back at its bound")
        assert still_open(mine[:6]) == 0, "the oldest went"
        assert ask(mine[-1]).startswith(b"HTTP/1.1 200")
        assert ask(other).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("many_descriptors")
def test_thousands_of_silent_and_slow_connections_shut_nobody_out(signaling: SignalingProcess) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MAX_CONNECTIONS + 1000:
        pytest.skip("this machine allows too few descriptors for the flood")
    openings = (b"", SLOW_HEAD, SLOW_BODY)
    with contextlib.ExitStack() as stack:
        flood: list[socket.socket] = []
        for number in range(4600):
            flood.append(stack.enter_context(connect(signaling, f"127.0.1.{1 + number // 60}")))
            if opening := openings[number % 3]:
                flood[-1].sendall(opening)
            if number % 500 == 499:  # also in the middle of it
                with httpx.Client(base_url=signaling.url, timeout=5) as http:
                    assert http.get("/healthz").status_code == 503, "no transceiver is there, and it says so"
        assert ask(stack.enter_context(connect(signaling))).startswith(b"HTTP/1.1 200")
        assert still_open(flood) <= MAX_CONNECTIONS
    assert len(signaling.lines) < 20


def test_without_a_descriptor_newcomers_are_answered_and_a_line_a_second_is_logged(
    signaling: SignalingProcess,
) -> None:
    descriptors = Path(f"/proc/{signaling.process.pid}/fd")
    used = len(os.listdir(descriptors))
    _, hard = resource.prlimit(signaling.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(signaling.process.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        flood = [stack.enter_context(connect(signaling, f"127.0.2.{1 + number // 50}")) for number in range(200)]
        with httpx.Client(base_url=signaling.url, timeout=15) as http:
            while time.monotonic() - began < 2:
                assert http.get("/healthz").status_code == 503
                time.sleep(0.1)
        assert still_open(flood) <= 200
        lines = [line for line in signaling.lines if "descriptor" in line or "open files" in line]
        assert 1 <= len(lines) <= time.monotonic() - began + 2
    assert "127.0.2." not in "".join(signaling.lines)
    assert "Traceback" not in "".join(signaling.lines)


def test_without_a_descriptor_the_process_does_not_spin(signaling: SignalingProcess) -> None:
    pid = signaling.process.pid
    # What it imports and opens for its first requests is no part of what is measured.
    until(lambda: any("connected to NATS" in line for line in signaling.lines), "it has joined NATS")
    until(lambda: httpx.get(signaling.url + "/v1/agents").status_code == 200, "it serves")
    assert httpx.post(signaling.url + "/v1/realtime/client_secrets", json={}).status_code == 200
    used = len(os.listdir(f"/proc/{pid}/fd"))
    with connect(signaling) as busy:
        busy.sendall(SLOW_BODY)  # silent, so it goes first
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used - 2, hard))
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(connect(signaling))
            before = cpu_seconds(pid)
            time.sleep(1)  # what it uses in a second is what is measured
            assert cpu_seconds(pid) - before < 0.3
            assert len(signaling.lines) < 20
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1000, hard))
    until(lambda: httpx.get(signaling.url + "/v1/agents").status_code == 200, "it serves again")


def cpu_seconds(pid: int) -> float:
    """Of the process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_connection_in_use_outlives_a_flood_of_its_own_address(
    signaling: SignalingProcess, http: httpx.Client
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * PER_ADDRESS):
            stack.enter_context(connect(signaling))
            assert http.get("/v1/agents").status_code == 200
    assert len(signaling.lines) < 20


def test_a_limit_per_address_can_be_set_and_proxies_are_exempt(nats_url: str) -> None:
    settings = {"ANTIPHON_CONNECTIONS_PER_ADDRESS": "2", "ANTIPHON_TRUSTED_PROXIES": "127.0.0.9"}
    with signaling_process(nats_url, **settings) as service, contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(connect(service)) for _ in range(4)]
        proxies = [stack.enter_context(connect(service, "127.0.0.9")) for _ in range(10)]
        until(lambda: still_open(strangers) == 2, "a stranger has two")
        assert [ask(client)[:12] for client in proxies] == [b"HTTP/1.1 200"] * 10


def test_a_websocket_that_is_refused_gives_its_place_back(signaling: SignalingProcess, http: httpx.Client) -> None:
    until(lambda: "nats" not in http.get("/healthz").json()["failing"], "NATS is connected")
    url = signaling.url.replace("http", "ws") + "/v1/realtime?call_id=rtc_none"
    for _ in range(PER_ADDRESS + 10):
        with pytest.raises(Exception, match="404"), connect_websocket(url):
            pass


@pytest.mark.parametrize("bind", ["[::1]:0", "[::]:0"])
def test_listeners_of_ipv6_count_and_answer_likewise(nats_url: str, bind: str) -> None:
    settings = {"ANTIPHON_HTTP_BIND": bind, "ANTIPHON_ALLOW_OPEN": "1", "ANTIPHON_CONNECTIONS_PER_ADDRESS": "3"}
    with signaling_process(nats_url, **settings) as service, contextlib.ExitStack() as stack:
        port = urlsplit(service.url).port or 0
        mine = [stack.enter_context(socket.create_connection(("::1", port), timeout=10)) for _ in range(5)]
        until(lambda: still_open(mine) == 3, "an address has three")
        assert ask(mine[-1]).startswith(b"HTTP/1.1 200")
        if bind == "[::]:0":
            assert ask(stack.enter_context(connect_v4(port))).startswith(b"HTTP/1.1 200")


def connect_v4(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)
