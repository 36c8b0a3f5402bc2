"""Requests that two readers could read differently are refused, and their connection is closed."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.nats import nats_server
from support.processes.signaling import SignalingProcess, signaling_process

pytestmark = pytest.mark.process

HOST = b"Host: 127.0.0.1\r\n"
NEXT = b"GET /v1/agents HTTP/1.1\r\n" + HOST + b"\r\n"
BODY = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST
REFUSED = {
    "a length and chunks": BODY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks and a length": BODY + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": BODY + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "the same length twice": BODY + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": BODY + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": BODY + b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": BODY + b"Content-Length: 0x2\r\n\r\n{}",
    "no length": BODY + b"Content-Length: \r\n\r\n{}",
    "an endless length": BODY + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "another coding": BODY + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": BODY + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of HTTP/1.0": BODY.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"GET /v1/agents HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": BODY + b"Content-Length : 2\r\n\r\n{}",
    "lines that end in LF": b"GET /v1/agents HTTP/1.1\nHost: 127.0.0.1\n\n",
    "one line that ends in LF": b"GET /v1/agents HTTP/1.1\r\nX: a\n" + HOST + b"\r\n",
    "CR inside a line": b"GET /v1/agents HTTP/1.1\r\nX: a\rb\r\n" + HOST + b"\r\n",
    "a NUL": b"GET /v1/agents HTTP/1.1\r\nX: a\0b\r\n" + HOST + b"\r\n",
    "two hosts": b"GET /v1/agents HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "no host": b"GET /v1/agents HTTP/1.1\r\n\r\n",
    "another version": b"GET /v1/agents HTTP/1.2\r\n" + HOST + b"\r\n",
    "the version to come": b"GET /v1/agents HTTP/3.0\r\n" + HOST + b"\r\n",
    "a whole URL": b"GET http://elsewhere.example/v1/agents HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT elsewhere.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a line too long": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "too many fields": b"GET /v1/agents HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 200 + b"\r\n",
    "a chunk without its length": BODY + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a negative chunk": BODY + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk longer than it says": BODY + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    "a long chunk extension": BODY + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 40_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a WebSocket with a body": b"GET /v1/realtime?call_id=rtc_1 HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 60\r\n\r\n",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignalingProcess]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url, signaling_process(url) as running:
        yield running


def exchange(service: SignalingProcess, request: bytes) -> bytes:
    """All that is answered until the server closes."""
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as client:
        answer = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(request)
            while data := client.recv(65536):
                answer += data
        return answer


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_read(
    service: SignalingProcess, request_: bytes
) -> None:
    answer = exchange(service, request_ + NEXT)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert head.split(b" ")[1] == b"400", head
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "bad_request"


def test_chunk_extensions_without_end_are_read_within_a_bound(service: SignalingProcess) -> None:
    chunk = b"1;" + b"x" * 16_000 + b"\r\n \r\n"
    answer = exchange(service, BODY + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 1000)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 2" not in answer


def test_an_honest_body_in_chunks_and_a_client_of_http_1_0_are_served(service: SignalingProcess) -> None:
    chunked = BODY + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: trailer\r\n\r\n"
    assert exchange(service, chunked).startswith(b"HTTP/1.1 200")
    old = exchange(service, b"GET /v1/agents HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"\r\n" + NEXT)
    assert old.startswith(b"HTTP/1.1 200")
    assert old.count(b"HTTP/1.1 ") == 1, "the connection of an HTTP/1.0 client ends with its answer"


def test_a_flood_of_requests_on_one_connection_is_answered_in_order_and_delays_nobody(
    service: SignalingProcess,
) -> None:
    last = NEXT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = exchange(service, NEXT * 300 + last)
    assert answer.count(b"HTTP/1.1 200") == 301


def test_invalid_requests_leave_a_line_a_second_at_most(service: SignalingProcess, tmp_path: Path) -> None:
    before = len(service.lines)
    for _ in range(100):
        exchange(service, b"nonsense\r\n\r\n")
    assert httpx.get(service.url + "/v1/agents").status_code == 200
    assert len(service.lines) - before < 20, "100 requests within a few seconds"
    assert "127.0.0.1:" not in "".join(service.lines[before:])
