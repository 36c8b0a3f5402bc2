"""A call through a relay, played by two sockets: the client asks, the owner answers, media goes both ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from support.processes.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
)

MEDIA = b"\x80\x6f" + bytes(160)


@contextmanager
def client_socket(host: str = "127.0.0.1") -> Iterator[Datagrams]:
    datagrams = Datagrams(host)
    try:
        yield datagrams
    finally:
        datagrams.close()


async def call(client: Datagrams, relay: RelayProcess, owner: FakeTransceiver) -> None:
    """The client asks, its owner answers, media goes both ways."""
    at = next(address for address in relay.public if (":" in address.host) == (":" in client.address.host))
    request = binding_request(owner.ufrag())
    client.send(request, at)
    packet, through = await owner.receive()
    assert (packet.payload, packet.client, through) == (request, client.address, relay.tunnel)
    owner.datagrams.send(packet.header + b"\1\1answer", relay.tunnel)
    assert await client.receive() == (b"\1\1answer", at)
    await media(client, relay, owner)


async def media(client: Datagrams, relay: RelayProcess, owner: FakeTransceiver) -> None:
    """A packet each way."""
    at = next(address for address in relay.public if (":" in address.host) == (":" in client.address.host))
    client.send(MEDIA, at)
    packet, _ = await owner.receive()
    assert (packet.payload, packet.client) == (MEDIA, client.address)
    owner.datagrams.send(packet.header + MEDIA[::-1], relay.tunnel)
    assert await client.receive() == (MEDIA[::-1], at)
