"""The client's HTTP on real sockets: one piece per request, with and without TLS, and errors as `httpx` has them."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest
from support.conditions import until
from support.tls import pair

from antiphon.cli.call.connect_race import LINEAR_TIMEOUTS
from antiphon.cli.call.http_transport import MAX_HELD, Transport

pytestmark = pytest.mark.process

OK = b"HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nok"

DATA_SEGMENTS_IN = 152
"""Of `tcp_info`, Linux's <linux/tcp.h>."""


class Server:
    """Keeps what each read of it gave; answers a request that has come whole."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.connections = 0
        self.segments: list[int] = []
        """Segments with data that the kernel has received on the connection, as of each answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        request = b""
        while data := await reader.read(1 << 20):
            self.reads.append(data)
            request += data
            head, _, body = request.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if b"\r\n\r\n" in request and len(body) >= length:
                request = b""
                info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
                self.segments.append(int.from_bytes(info[DATA_SEGMENTS_IN : DATA_SEGMENTS_IN + 4], sys.byteorder))
                writer.write(OK)
        writer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_leaves_in_one_piece_and_the_connection_is_kept(host: str, tls: bool, tmp_path: Path) -> None:
    server = Server()
    files = pair().write(tmp_path)
    own = None
    if tls:
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(*files)
    listener = await asyncio.start_server(server.serve, host, 0, ssl=own)
    port = listener.sockets[0].getsockname()[1]
    trusted = ssl.create_default_context(cafile=files[0]) if tls else True
    url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/v1"
    async with httpx.AsyncClient(transport=Transport(trusted), trust_env=False) as http:
        for _ in range(3):
            response = await http.post(url, content=b"v=0\r\n" * 200, headers={"Authorization": "Bearer x"})
            assert (response.status_code, response.text) == (201, "ok")
        stream = response.extensions["network_stream"].get_extra_info("socket")
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sys.platform != "linux" or stream.getsockopt(socket.IPPROTO_TCP, LINEAR_TIMEOUTS)
    listener.close()
    assert server.connections == 1
    assert [later - before for before, later in itertools.pairwise(server.segments)] == [1, 1]


async def test_a_long_request_leaves_before_its_end() -> None:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(transport=Transport(), trust_env=False) as http:
        response = await http.post(f"http://127.0.0.1:{port}/", content=bytes(MAX_HELD * 10))
        assert response.status_code == 201
    listener.close()
    assert sum(map(len, server.reads)) > MAX_HELD * 10


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    connections = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    listener = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(transport=Transport(), trust_env=False) as http:
        for number in range(3):
            response = await http.get(f"http://127.0.0.1:{port}/")
            assert response.status_code == 201
            await until(partial(response.extensions["network_stream"].get_extra_info, "is_readable"))
            assert connections == number + 1
    listener.close()


async def test_errors_are_those_of_httpx() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(never, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    closed = await asyncio.start_server(never, "127.0.0.1", 0)
    refused = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    async with httpx.AsyncClient(transport=Transport(), trust_env=False, timeout=0.2) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://127.0.0.1:{refused}/")
        with pytest.raises(httpx.ReadTimeout):
            await http.get(f"http://127.0.0.1:{port}/")
        with pytest.raises(httpx.ConnectError):  # it does not speak TLS to us
            await http.get(f"https://127.0.0.1:{refused}/")
    listener.close()


async def test_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    server = Server()
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(*pair().write(tmp_path))
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=own)
    port = listener.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(transport=Transport(), trust_env=False) as http:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await http.get(f"https://127.0.0.1:{port}/")
    listener.close()
    assert not server.reads
