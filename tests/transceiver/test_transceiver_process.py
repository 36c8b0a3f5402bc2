"""The life of a transceiver process: what it takes, what it gives back, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from support.processes.nats import nats_server
from support.processes.transceiver_observed import children_of, is_alive, kill_nats, others
from support.processes.transceiver_process import ENVIRONMENT, Bench, transceiver_process

from antiphon.schemas import messages, subjects
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages import decode

pytestmark = pytest.mark.process


@pytest.mark.nightly
async def test_a_thousand_sessions_leave_nothing_behind(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_CONSENT_SECONDS="6", ANTIPHON_CAPACITY="400") as bench:
        turns = asyncio.Semaphore(12)

        async def one(number: int) -> None:
            """Hung up, closed by the client, vanished in mid-call or in mid-handshake, or never come."""
            async with turns:
                kind = 2 if number % 20 == 2 else (0, 1, 3, 4)[number % 4]  # few vanish: they stay for 6 s
                if kind < 3:
                    peer, line = await bench.call()
                    if kind == 0:
                        await bench.control(line, messages.HangUp())
                    await (peer.close() if kind == 1 else peer.vanish())
                else:
                    peer = bench.peer()
                    opened = await bench.opened(peer.offer())
                    if kind == 3:
                        transmit = peer.transmit
                        peer.transmit = lambda data: transmit(data) if data[0] < 4 else None
                        peer.begin(opened.answer)
                        await bench.until(lambda: peer.handshaking, "the handshake has begun")
                        await peer.vanish()
                    await bench.control(bench.lines[opened.session_id], messages.HangUp())

        async def round_of(count: int) -> None:
            await asyncio.gather(*(one(number) for number in range(count)))
            await bench.until(lambda: bench.announcement.sessions == 0, "all of them are over", 60)
            bench.forget_clients()

        names = ("sessions", "taken", "seats", "tasks", "threads", "visits", "handshakes_waiting")

        async def at_rest(expected: dict[str, int] | None = None) -> dict[str, int]:
            """The least that it counts of its own in 2 s, for announcing comes and goes; waits for what is expected."""
            lowest: dict[str, int] = {}
            for turn in range(600):
                told = await bench.figures()
                lowest = {name: min(told[name], lowest.get(name, told[name])) for name in names}
                if turn >= 40 and expected in (None, lowest):
                    break
                await asyncio.sleep(0.05)
            return lowest

        await round_of(1000)  # what is loaded and cached once, and what the allocator keeps for as many as later
        before, descriptors, threads, memory = await at_rest(), bench.descriptors(), bench.threads(), bench.memory()
        await round_of(1000)
        assert await at_rest(before) == before
        assert (bench.descriptors(), bench.threads()) == (descriptors, threads)
        print(f"memory {memory:.1f} MB, after 1,000 more sessions {bench.memory():.1f} MB")
        assert bench.memory() - memory < 3
        assert all(line.ended is not None for line in bench.lines.values())
        peer, _ = await bench.call()
        await peer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_every_session_with_a_word_and_the_process_within_2_s(
    bench: Bench, number: signal.Signals
) -> None:
    calls = [await bench.call() for _ in range(3)]
    os.kill(bench.pid, number)
    status, seconds = await bench.terminate()
    assert (status, seconds < 2) == (0, True)
    await bench.until(lambda: all(line.ended == "draining" for _, line in calls), "agents are told")
    await bench.until(lambda: all(peer.closed.is_set() for peer, _ in calls), "clients are told")
    assert bench.announcement.state == "draining"


async def test_it_ends_within_2_s_without_nats_too(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        async with transceiver_process(url) as bench:
            await bench.call()
            kill_nats(tmp_path)
            await bench.until(lambda: not bench.client.is_connected, "NATS is gone")
            status, seconds = await bench.terminate()
            assert (status, seconds < 2.5) == (0, True)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ANTIPHON_ROUTE_KEYS": ""}, "ANTIPHON_ROUTE_KEYS"),
        ({"ANTIPHON_PASSWORD_KEY": "xy"}, "ANTIPHON_PASSWORD_KEY"),
        pytest.param({"ANTIPHON_TRANSCEIVER_BIND": "nonsense:0"}, "nonsense", marks=pytest.mark.nightly),
        pytest.param({"ANTIPHON_TRANSCEIVER_ADVERTISE": "my-host"}, "my-host", marks=pytest.mark.nightly),
        ({"ANTIPHON_TRANSCEIVER_BIND": "192.0.2.1:0"}, "assign"),
        pytest.param({"ANTIPHON_PLACE": "50.11"}, "<latitude>,<longitude>", marks=pytest.mark.nightly),
    ],
)
def test_settings_that_can_t_work_are_one_line_and_status_2(nats_url: str, changed: dict[str, str], says: str) -> None:
    environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": nats_url} | changed
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.transceiver"], env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bus_that_fails_a_start_is_status_1_so_that_a_supervisor_starts_it_again(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats", jetstream=False) as nats_url:
        environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": nats_url}
        done = subprocess.run(
            [sys.executable, "-m", "antiphon.transceiver"], env=environment, capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert "NATS fails us" in done.stderr
    assert "Traceback" not in done.stderr


async def test_slots_are_taken_by_one_process_each(bench: Bench) -> None:
    slots: set[tuple[int, int]] = set()
    seen = await bench.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE)
    processes = others(bench, 3)
    try:
        while len(slots) < 4:
            said = messages.decode((await seen.next_msg(10)).data, messages.TransceiverAnnouncement)
            slots.add((said.slot, parse_address(said.tunnel_address).port))
        assert len({slot for slot, _ in slots}) == 4
    finally:
        for process in processes:
            process.terminate()
        assert [process.wait(5) for process in processes] == [0, 0, 0]


async def test_a_drain_takes_no_new_calls_and_lets_running_ones_end(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_DRAIN_SECONDS="60") as bench:
        peer, line = await bench.call()
        os.kill(bench.pid, signal.SIGTERM)
        await bench.until(lambda: bench.announcement.state == "draining", "it announces the drain")
        refused = await bench.ask(bench.peer().offer())
        assert isinstance(refused, messages.Refused)
        assert refused.code == "draining"
        await bench.until(lambda: any('"antiphon.draining"' in text for text in peer.texts), "the client is told")
        assert any(isinstance(event, messages.Draining) for event in line.events)
        assert line.ended is None
        await peer.close()
        await bench.until(lambda: not bench.is_running(), "it ends with its last session")
        assert line.ended == "client_closed"
        assert bench.exit_status() == 0


async def test_a_drain_ends_at_its_deadline(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_DRAIN_SECONDS="0.5") as bench:
        peer, line = await bench.call()
        os.kill(bench.pid, signal.SIGTERM)
        await bench.until(lambda: not bench.is_running(), "it ends although a call is up")
        assert line.ended == "draining"
        assert bench.exit_status() == 0
        await bench.until(peer.closed.is_set, "the client is told")


@pytest.mark.nightly
async def test_each_process_of_a_parent_has_its_own_slot_and_port_and_is_started_again(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_TRANSCEIVER_PROCESSES="2") as bench:
        seen: dict[int, messages.TransceiverAnnouncement] = {}

        async def announced(message: Msg) -> None:
            said = decode(message.data, messages.TransceiverAnnouncement)
            seen[said.slot] = said

        await bench.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=announced)
        await bench.until(lambda: set(seen) == {0, 1}, "both announce themselves")
        assert seen[0].tunnel_address != seen[1].tunnel_address
        children = children_of(bench.pid)
        assert len(children) == 2
        epochs = {slot: said.epoch for slot, said in seen.items()}
        os.kill(int(min(children)), signal.SIGKILL)

        def is_replaced() -> bool:
            return any(said.epoch != epochs.get(slot) for slot, said in seen.items())

        await bench.until(is_replaced, "the dead one is replaced, under another epoch or slot")
        status, seconds = await bench.terminate()
        assert status == 0
        assert seconds < 4
        assert not any(is_alive(pid) for pid in children)


async def test_a_parent_that_is_killed_leaves_no_process_behind(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_TRANSCEIVER_PROCESSES="2") as bench:
        await bench.until(lambda: len(children_of(bench.pid)) == 2, "both are there")
        await bench.sessions(0)
        children = children_of(bench.pid)
        os.kill(bench.pid, signal.SIGKILL)
        await bench.until(lambda: not any(map(is_alive, children)), "they are gone")
