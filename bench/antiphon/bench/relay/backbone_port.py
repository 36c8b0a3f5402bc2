"""Another relay's backbone address as a bench plays it: hellos are answered, everything else is only counted.

Two sockets have the same address (SO_REUSEPORT), and a filter of the kernel's gives one of them the hellos. So the
other one can be a sink that is not read, at no cost to the core that sends, and the relay under test still has answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from typing import Final

from antiphon.bench.relay.load import udp_socket
from antiphon.schemas import backbone
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import BackboneKeys
from antiphon.schemas.errors import MalformedError

_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_INSTRUCTION: Final = struct.Struct("HBBI")
_IS_HELLO: Final = b"".join(
    _INSTRUCTION.pack(*each)
    for each in (
        (0x28, 0, 0, 0),  # load the first two bytes of the payload
        (0x15, 0, 1, int.from_bytes(backbone.HELLO_MAGIC, "big")),  # a hello: go on, anything else: skip one
        (0x06, 0, 0, 1),  # to the second socket of the address
        (0x06, 0, 0, 0),  # to the first one
    )
)


class BackbonePort:
    """Owned by one run of a bench, which closes it. `sink` is used from the thread that measures; hellos are answered
    on the event loop in which this was made."""

    def __init__(self, keys: BackboneKeys) -> None:
        self.sink = udp_socket("127.0.0.1", reuse=True)
        self.port: int = self.sink.getsockname()[1]
        self._keys = keys
        self._hellos = udp_socket("127.0.0.1", small=False, reuse=True, port=self.port)
        self._hellos.setblocking(False)
        program = ctypes.create_string_buffer(_IS_HELLO, len(_IS_HELLO))
        filter_ = struct.pack("HxxxxxxQ", len(_IS_HELLO) // _INSTRUCTION.size, ctypes.addressof(program))
        self.sink.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, filter_)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._hellos.fileno(), self._answer)

    @property
    def address(self) -> str:
        return str(Address("127.0.0.1", self.port))

    def close(self) -> None:
        self._loop.remove_reader(self._hellos.fileno())
        self._hellos.close()
        self.sink.close()

    def _answer(self) -> None:
        with contextlib.suppress(BlockingIOError, MalformedError):
            while True:
                packet, source = self._hellos.recvfrom(64)
                hello = self._keys.open_hello(packet)
                if hello.kind == backbone.HELLO:
                    self._hellos.sendto(self._keys.seal_hello(hello._replace(kind=backbone.ANSWER)), source)
