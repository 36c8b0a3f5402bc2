"""Calls over two real relays: the ingress where the client is, the cluster's relay where the transceiver is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.peers.relay_calls import MEDIA, client_socket
from support.processes.nats import nats_server, server_pid, stopped
from support.processes.relay_process import (
    Datagrams,
    FakeTransceiver,
    RelayProcess,
    binding_request,
    fake_transceiver,
    relay_process,
    until,
)

from antiphon.runtime import tasks
from antiphon.schemas import tunnel
from antiphon.schemas.addresses import Address

pytestmark = pytest.mark.process

CLUSTER, INGRESS = 2, 7
KEYS = ("ab" * 32, "cd" * 32)
ANSWER = b"\1\1answer"


def place(name: str, cluster: int | None, **settings: str) -> dict[str, str]:
    """The settings of a relay in one place."""
    return {
        "ANTIPHON_RELAY_NAME": name,
        "ANTIPHON_CLUSTER": "none" if cluster is None else str(cluster),
        "ANTIPHON_RELAY_BACKBONE_BIND": "127.0.0.1:0",
        **({"ANTIPHON_RELAY_INGRESS": str(INGRESS)} if cluster is None else {}),
        **settings,
    }


@asynccontextmanager
async def far_transceiver(url: str) -> AsyncIterator[FakeTransceiver]:
    async with fake_transceiver(url) as owner:
        owner.cluster = CLUSTER
        yield owner


async def reaches_far(ingress: RelayProcess) -> None:
    """Wait until a relay of the other cluster has answered the ingress."""

    async def measured() -> bool:
        return str(CLUSTER) in (await ingress.statistics()).round_trips

    await until(measured, "the ingress has measured the way to the other cluster")


async def call_far(client: Datagrams, ingress: RelayProcess, owner: FakeTransceiver) -> tunnel.Tunnelled:
    """A request and its answer, over both relays; the packet that the owner saw."""
    at = next(address for address in ingress.public if (":" in address.host) == (":" in client.address.host))
    client.send(binding_request(owner.ufrag()), at)
    packet, through = await owner.receive()
    assert packet.client == client.address
    assert len(packet.header) == (28 if ":" in client.address.host else 16)
    owner.datagrams.send(packet.header + ANSWER, through)
    assert await client.receive() == (ANSWER, at)
    return packet


async def media_far(client: Datagrams, ingress: RelayProcess, owner: FakeTransceiver) -> Address:
    """Packets both ways, sent again until one has come: UDP may lose those of the moment in which a relay died."""
    at = next(address for address in ingress.public if (":" in address.host) == (":" in client.address.host))
    client.waiting()
    while True:
        client.send(MEDIA, at)
        with contextlib.suppress(TimeoutError):
            packet, through = await owner.receive(0.1)
            if packet.client != client.address:
                continue
            owner.datagrams.send(packet.header + MEDIA[::-1], through)
            assert await client.receive(0.1) == (MEDIA[::-1], at)
            return through


async def test_a_call_of_any_kind_goes_over_two_relays_and_survives_new_keys_a_cut_and_a_restart(
    tmp_path: Path,
) -> None:
    """UDP on IPv4 and IPv6, ICE-TCP; backbone keys rotated; NATS standing still; the ingress killed."""
    file = tmp_path / "backbone"
    file.write_text(KEYS[0])
    keys = {"ANTIPHON_BACKBONE_KEY_FILE": str(file)}
    more = {"ANTIPHON_RELAY_TCP_BIND": "127.0.0.1:0", "ANTIPHON_RELAY_STATE_FILE": str(tmp_path / "state")}
    with nats_server(tmp_path / "nats") as url:
        async with (
            far_transceiver(url) as owner,
            relay_process(url, settings=place("far", CLUSTER, **keys)) as far,
            relay_process(url, bind="127.0.0.1:0,[::1]:0", settings=place("near", None, **keys, **more)) as ingress,
        ):
            await far.knows(routes=1)
            await reaches_far(ingress)
            with client_socket() as client, client_socket("::1") as of_ipv6:
                header = (await call_far(client, ingress, owner)).header
                await call_far(of_ipv6, ingress, owner)
                await call_by_tcp(ingress, owner)
                for text in (f"{KEYS[1]},{KEYS[0]}", KEYS[1]):  # the new key in front, then alone
                    file.write_text(text)
                    for pid in (far.pid, ingress.pid):
                        os.kill(pid, signal.SIGHUP)
                    for each in (client, of_ipv6):
                        await media_far(each, ingress, owner)
                file.write_text("")  # is refused, and changes nothing
                os.kill(far.pid, signal.SIGHUP)
                with stopped(server_pid(tmp_path / "nats")), client_socket() as another:
                    await call_far(another, ingress, owner)
                    await media_far(client, ingress, owner)
                file.write_text(KEYS[1])
                ingress.kill()
                starting = asyncio.create_task(ingress.start())
                while tunnel.ingress_of_hello(packet := (await owner.datagrams.receive())[0]) != INGRESS:
                    assert packet
                await starting
                owner.datagrams.waiting()

                async def is_known() -> bool:
                    """The owner names its client to the ingress, which then has the flow without a request."""
                    owner.datagrams.send(header, far.tunnel)
                    return (await ingress.statistics()).flows_confirmed > 0

                await until(is_known, "the restarted ingress knows the client again")
                await media_far(client, ingress, owner)


async def call_by_tcp(ingress: RelayProcess, owner: FakeTransceiver) -> None:
    """An ICE-TCP client's request and its answer."""
    reader, writer = await asyncio.open_connection(*ingress.tcp[0])
    request = binding_request(owner.ufrag())
    writer.write(len(request).to_bytes(2, "big") + request)
    packet, through = await owner.receive()
    assert (packet.payload, packet.tcp) == (request, True)
    owner.datagrams.send(packet.header + ANSWER, through)
    assert await reader.readexactly(2 + len(ANSWER)) == len(ANSWER).to_bytes(2, "big") + ANSWER
    writer.close()
    await writer.wait_closed()


async def test_when_a_relay_of_the_cluster_is_stopped_killed_or_drained_the_other_one_goes_on(nats_url: str) -> None:
    async with (
        far_transceiver(nats_url) as owner,
        relay_process(nats_url, "portable", settings=place("far-1", CLUSTER)) as one,
        relay_process(nats_url, "portable", settings=place("far-2", CLUSTER)) as two,
        relay_process(nats_url, "portable", settings=place("near", None)) as ingress,
    ):

        async def both_answer() -> None:
            for each in (one, two):
                await each.knows(routes=1)
            await until(lambda: answers_of(ingress, 2), "both relays of the cluster answer the ingress")

        with client_socket() as client:
            for how in ("stopped", "killed", "drained"):
                await both_answer()
                await call_far(client, ingress, owner)
                used = await media_far(client, ingress, owner)
                gone, left = (one, two) if used == one.tunnel else (two, one)
                stopped_ones = family_of(gone.pid) if how == "stopped" else []
                match how:
                    case "stopped":
                        signal_all(stopped_ones, signal.SIGSTOP)
                    case "killed":
                        gone.kill()
                    case "drained":
                        assert await asyncio.to_thread(gone.terminate) == 0
                try:
                    # What the relay had taken before may still come.
                    while await media_far(client, ingress, owner) != left.tunnel:
                        pass
                finally:
                    signal_all(stopped_ones, signal.SIGCONT)
                if how == "killed":
                    await gone.start()


@pytest.mark.nightly
async def test_a_process_that_takes_over_the_ingress_gets_the_packets_when_it_has_the_port(
    nats_url: str,
) -> None:
    """Every packet comes through, upward and downward, before, during and after the change."""
    async with (
        far_transceiver(nats_url) as owner,
        relay_process(nats_url, settings=place("far", CLUSTER)) as far,
        relay_process(nats_url, settings=place("near", None, ANTIPHON_RELAY_FLOW_PACKETS_PER_SECOND="0")) as old,
    ):
        await far.knows(routes=1)
        await reaches_far(old)
        with client_socket() as client, client_socket() as another:
            await call_far(client, old, owner)
            beside = relay_process(
                nats_url,
                bind=old.bind,
                beside=[old],
                settings=place("near", None, ANTIPHON_RELAY_FLOW_PACKETS_PER_SECOND="0"),
            )
            starting = asyncio.create_task(beside.__aenter__())
            echo = asyncio.create_task(echoes(owner))
            lost = 0
            try:
                while not starting.done():
                    lost += not await is_echoed(client, old)
                ended = asyncio.create_task(asyncio.to_thread(old.terminate))
                while not ended.done():
                    lost += not await is_echoed(client, old)
                assert await ended == 0
                for _ in range(20):
                    lost += not await is_echoed(client, old)
            finally:
                await tasks.end(echo)
            assert lost == 0
            await call_far(another, await starting, owner)
            await beside.__aexit__(None, None, None)


async def echoes(owner: FakeTransceiver) -> None:
    """Answer each packet; and the question for clients of the ingress with those that have sent one."""
    headers: set[bytes] = set()
    while True:
        packet, relay = await owner.datagrams.receive(60)
        if tunnel.ingress_of_hello(packet) == INGRESS:
            for header in headers:
                owner.datagrams.send(header, relay)
        elif packet != tunnel.HELLO:
            seen = tunnel.unpack(packet)
            headers.add(seen.header)
            owner.datagrams.send(seen.header + seen.payload[::-1], relay)


async def is_echoed(client: Datagrams, ingress: RelayProcess) -> bool:
    """Send a packet; whether its answer comes."""
    client.send(MEDIA, ingress.address)
    with contextlib.suppress(TimeoutError):
        return await client.receive(0.5) == (MEDIA[::-1], ingress.address)
    return False


async def answers_of(ingress: RelayProcess, relays: int) -> bool:
    """Whether this many relays are announced, and none of them is out."""
    found = await ingress.statistics()
    return found.relays == relays and not found.relays_out and bool(found.round_trips)


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def family_of(pid: int) -> list[int]:
    """A relay's control process and all that it started."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
