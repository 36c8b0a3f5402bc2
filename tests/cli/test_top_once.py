"""`antiphon top --once` over real NATS: what it writes, and the one line when it can't."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from support.processes.nats_roles import guarded_nats

from antiphon.cli.errors import CallError, UsageError
from antiphon.cli.top import command
from antiphon.cli.top.source import SourceError
from antiphon.runtime import tasks
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.service_discovery import register
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

CALL = messages.CallSummary(
    session_id="rtc_a", agent="echo", state="running", began=1.0, owner="", packets_received=3, packets_lost=1
)


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(["--once", *given])


async def top(*given: str) -> int:
    args = options(*given)
    async with command.source_of(args) as source:
        return await command.once(source, args)


async def test_calls_are_listed_by_their_owner_and_a_silent_one_is_named(
    nats_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = await connection.connect(nats_url, "owner")
    answering = await register(owner, "antiphon-transceiver", {"cluster": "0", "slot": "3"})
    hung_up: list[str] = []

    async def on_list(message: Msg) -> None:
        call = CALL.model_copy(update={"owner": answering.info().id, "cluster": 0, "slot": 3})
        answer = messages.CallList(owner=answering.info().id, slot=3, total=1, calls=[call])
        await message.respond(messages.encode(answer))

    async def on_hang_up(message: Msg) -> None:
        hung_up.append(messages.decode(message.data, messages.HangUp).creator)
        await message.respond(messages.encode(messages.ControlReply(ok=True)))

    async def announce() -> None:
        said = messages.TransceiverAnnouncement(
            cluster=0, slot=3, epoch=1, tunnel_address="127.0.0.1:9", state="draining", sessions=1, capacity=9
        )
        while True:
            await asyncio.sleep(0.5)
            for slot in (3, 4):
                changed = said.model_copy(update={"slot": slot})
                await owner.publish(subjects.transceiver_announce(0, slot), messages.encode(changed))

    await owner.subscribe(subjects.CALLS_LIST, cb=on_list)
    announcing = asyncio.create_task(announce())
    await owner.subscribe(subjects.call_hang_up("rtc_a"), cb=on_hang_up)
    await owner.flush()
    try:
        assert await top("--json", "--nats", nats_url) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(call["session_id"], call["loss_percent"]) for call in found["calls"]] == [("rtc_a", 25.0)]
        assert [(process["name"], process["state"]) for process in found["processes"]] == [("0.3", "draining")]
        async with command.source_of(options("--nats", nats_url)) as source:
            await source.hang_up("rtc_a")
            with pytest.raises(SourceError, match="there is no call rtc_b"):
                await source.hang_up("rtc_b")
        assert hung_up == [messages.ANY_CREATOR]
        await register(owner, "antiphon-transceiver", {"cluster": "0", "slot": "4"})
        await owner.flush()
        assert await top("--nats", nats_url) == 1
        written = capsys.readouterr()
        assert "0.3" in written.out
        assert "no answer from transceiver 0.4" in written.err
    finally:
        await tasks.end(announcing)
        await owner.close()


def test_without_nats_one_line_says_so() -> None:
    with pytest.raises(CallError, match=r"NATS at nats://127\.0\.0\.1:9 cannot be reached"):
        command.run(options("--nats", "nats://127.0.0.1:9"))


def test_a_credential_of_another_role_is_refused_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = User("recorder")
    with guarded_nats(tmp_path, [recorder]) as nats:
        for name, value in nats.environment(recorder).items():
            monkeypatch.setenv(name, value)
        with pytest.raises((CallError, UsageError), match="role operator"):
            command.run(options("--nats", nats.url))
