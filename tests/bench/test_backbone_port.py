"""The other relay as `antiphon bench relay --hops 2` plays it."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from antiphon.bench.relay.backbone_port import BackbonePort
from antiphon.bench.relay.load import Sink
from antiphon.schemas.backbone import ANSWER, HELLO, BackboneKeys, Hello

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="the bench is for Linux")]


@pytest.mark.parametrize("keys", [BackboneKeys(), BackboneKeys([bytes(32)])], ids=["no tag", "tag"])
async def test_hellos_are_answered_while_everything_else_is_counted_and_not_read(keys: BackboneKeys) -> None:
    port = BackbonePort(keys)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        relay.connect(("127.0.0.1", port.port))
        relay.setblocking(False)
        for number in range(10):
            for _ in range(20):
                relay.send(b"\x02\x40" + bytes(180))
            hello = Hello(HELLO, 7, False, number.to_bytes(8, "big"))
            relay.send(keys.seal_hello(hello))
            answer = await asyncio.wait_for(loop.sock_recv(relay, 100), 5)
            assert keys.open_hello(answer) == hello._replace(kind=ANSWER)
        assert 195 <= Sink(port.sink).settled() <= 200, "but for the few in the buffer"
        relay.send(b"\xfd\x7f" + bytes(30))  # no hello of ours: nothing comes back, and the next one is answered
        relay.send(keys.seal_hello(hello))
        assert keys.open_hello(await asyncio.wait_for(loop.sock_recv(relay, 100), 5)).kind == ANSWER
    port.close()
