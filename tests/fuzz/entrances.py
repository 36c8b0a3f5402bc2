"""How the clients of `fuzz.flood` reach a real relay, each by a socket of its own: UDP, or ICE-TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from support.peers.transceiver_peer import CarriedPeer

from antiphon.relay.dataplane.rfc4571 import pack_frame
from antiphon.schemas.addresses import Address

MOST_UNSENT = 1 << 16
"""Bytes; what does not fit is not sent, as in a client that drops what its line does not take."""


class Entrance:
    """The socket of one client, which sends by it from now on. Owner: the process that floods or is beside it."""

    def __init__(self, way: str, relay: Address, peer: CarriedPeer) -> None:
        """`way`: udp or tcp."""
        self._peer = peer
        self._read = self._unsent = b""
        kind = socket.SOCK_STREAM if way == "tcp" else socket.SOCK_DGRAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.connect(tuple(relay))
        self._socket.setblocking(False)
        if way == "tcp":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send = self._send_frame if way == "tcp" else self._send_datagram
        peer.transmit = self.send
        readable = self._read_frames if way == "tcp" else self._read_datagrams
        asyncio.get_running_loop().add_reader(self._socket.fileno(), readable)

    def _send_datagram(self, datagram: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(datagram)

    def _send_frame(self, datagram: bytes) -> None:
        if len(self._unsent) < MOST_UNSENT:
            self._unsent += pack_frame(datagram)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _read_datagrams(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                self._peer.receive(self._socket.recv(2048))

    def _read_frames(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._read += self._socket.recv(1 << 16)
        while len(self._read) >= 2 and len(self._read) >= (end := 2 + int.from_bytes(self._read[:2], "big")):
            frame, self._read = self._read[2:end], self._read[end:]
            if frame:
                self._peer.receive(frame)
