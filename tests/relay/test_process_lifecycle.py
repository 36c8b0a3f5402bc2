"""A relay and its workers as processes: started again, replaced, interrupted, ended, checked."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.peers.relay_calls import call, client_socket, media
from support.processes.relay_process import (
    RelayProcess,
    binding_request,
    fake_transceiver,
    relay_process,
    until,
    workers_of,
)

from antiphon.schemas.tunnel import pack_header

pytestmark = pytest.mark.process

MOST_DESCRIPTORS = 5
"""Fewer than a relay has open: it gets no further one."""


async def test_a_restarted_relay_finds_its_flows_again(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            relay.kill()
            owner.datagrams.waiting()
            restarted = asyncio.create_task(relay.start())
            asking = await owner.hello()
            owner.datagrams.send(pack_header(client.address), asking)
            await restarted
            owner.datagrams.send(pack_header(client.address) + b"\x80where were we", relay.tunnel)
            assert await client.receive() == (b"\x80where were we", relay.address)
            await media(client, relay, owner)


async def test_a_worker_that_dies_is_replaced_and_its_flows_come_back(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)
            owner.datagrams.waiting()
            os.kill(_worker_of(relay.pid), signal.SIGKILL)
            client.send(binding_request(owner.ufrag()), relay.address)  # waits in the kernel meanwhile
            asking = await owner.hello()
            assert asking == relay.tunnel
            owner.datagrams.send(pack_header(client.address), asking)
            packet, _ = await owner.receive()
            assert packet.client == client.address
            await media(client, relay, owner)


async def test_a_worker_that_cannot_be_replaced_yet_is_replaced_when_it_can(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        limits = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, limits[1]))
        for each in workers_of(relay.pid):  # the spare one as well, if it is there already
            os.kill(each, signal.SIGKILL)

        async def without_worker() -> bool:
            return (await relay.statistics()).workers == 0

        await until(without_worker, "the worker is gone")
        for _ in range(3):  # tries in vain
            await relay.statistics()
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, limits)
        await relay.knows(routes=1)
        with client_socket() as client:
            await call(client, relay, owner)


def _worker_of(pid: int) -> int:
    return workers_of(pid)[0]


async def test_the_worker_ends_with_its_relay(relay: RelayProcess) -> None:
    worker = _worker_of(relay.pid)
    relay.kill()

    async def gone() -> bool:
        return _has_ended(worker)

    await until(gone, "the worker has ended")


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_sigterm_ends_it_with_status_0_and_in_time(relay: RelayProcess) -> None:
    began = time.monotonic()
    assert relay.terminate() == 0
    assert time.monotonic() - began < 4  # two seconds are promised; others may hold this machine


async def test_an_interrupt_in_the_middle_of_its_start_ends_it_with_status_0(relay: RelayProcess) -> None:
    elsewhere = {"ANTIPHON_RELAY_BIND": "127.0.0.1:0", "ANTIPHON_RELAY_NAME": "interrupted"}
    process = relay.start_anew(elsewhere)

    async def has_a_worker() -> bool:
        return bool(workers_of(process.pid))

    await until(has_a_worker, "its worker is started, and asyncio is not")
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, 10) == 0


async def test_check_tells_whether_a_relay_answers(nats_url: str) -> None:
    async def check() -> int:
        environment = os.environ | {"ANTIPHON_NATS_URL": nats_url}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "antiphon.relay", "--check"), env=environment, stderr=subprocess.DEVNULL
        )
        return await process.wait()

    assert await check() == 1
    async with relay_process(nats_url):

        async def answers() -> bool:
            return await check() == 0

        await until(answers, "the check finds the relay")


async def test_a_spare_process_takes_a_dead_workers_place(relay: RelayProcess) -> None:
    async with fake_transceiver(relay.nats_url) as owner:
        await relay.knows(routes=1)
        for _ in range(3):  # deaths in a row as well

            async def has_a_spare() -> bool:
                return len(workers_of(relay.pid)) == 2

            await until(has_a_spare, "a spare process waits")
            worker, spare = workers_of(relay.pid)
            os.kill(worker, signal.SIGKILL)

            async def works() -> bool:
                return workers_of(relay.pid)[0] == spare and (await relay.statistics()).workers == 1  # noqa: B023

            await until(works, "the spare one is the worker")
            await relay.knows(routes=1)
            with client_socket() as client:
                client.send(binding_request(owner.ufrag()), relay.address)
                packet, _ = await owner.receive()
                assert packet.client == client.address
