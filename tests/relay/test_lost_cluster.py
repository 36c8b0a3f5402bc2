"""Real relays: a cluster is lost, and its calls go on in another one by the ingress that their callers have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nats.aio.client import Client
from support.processes.relay_process import Datagrams, until
from support.processes.two_regions import check_reaches, relay_of, relays_of, shows, token_of, transceiver_of

from antiphon.runtime.nats import connection
from antiphon.schemas import subjects
from antiphon.schemas.backbone import Route, pack_header
from antiphon.schemas.messages import SlotMoved, encode
from antiphon.schemas.slot_moves import AnnouncementKey, SlotMove

pytestmark = pytest.mark.process

KEY, STRANGER = AnnouncementKey(bytes(range(32))), AnnouncementKey(bytes(32))
OLD, NEW = (2, 1, 1), (3, 1, 1)


async def announce(client: Client, move: SlotMove, key: AnnouncementKey = KEY) -> None:
    parts = dict(zip(("cluster", "slot", "epoch"), move.old, strict=True))
    parts |= dict(zip(("to_cluster", "to_slot", "to_epoch"), move.new, strict=True))
    message = SlotMoved.model_validate({**parts, "made_at": move.made_at, "signature": key.sign(move)})
    await client.publish(subjects.cluster_moved(2), encode(message))
    await connection.flush(client)


async def test_a_lost_clusters_call_goes_on_in_another_one_and_an_ingress_that_restarts_still_sends_it_there(
    nats_url: str, tmp_path: Path
) -> None:
    bus = await connection.connect(nats_url, "test")
    caller = Datagrams()
    file = tmp_path / "state"
    settings = {"ANTIPHON_CLUSTER_KEYS": f"2:{KEY.public}", "ANTIPHON_RELAY_STATE_FILE": str(file)}

    async def written() -> bool:
        return bool(json.loads(file.read_text())["moves"])

    async with (
        transceiver_of(nats_url, 2) as lost,
        transceiver_of(nats_url, 3) as heir,
        relays_of(nats_url, 2, 3) as (_, relay_of_heir),
        relay_of(nats_url, 1, **settings) as ingress,
    ):
        await shows(ingress, relays=2)
        await relay_of_heir.knows(routes=1)
        token = token_of(lost)
        _, through = await check_reaches(caller, token, ingress, lost)
        await announce(bus, SlotMove(OLD, NEW, 1000), STRANGER)
        await announce(bus, SlotMove(OLD, NEW, 2000))
        await shows(ingress, moves=1)
        caller.send(b"\x80media", ingress.address)
        packet, way = await heir.receive()
        name = pack_header(caller.address, Route(101, 1, 1, 0))
        assert (packet.header, packet.payload) == (name, b"\x80media")
        # What the lost one still sends is dropped; what the heir sends is delivered.
        lost.datagrams.send(name + b"\x80former", through)
        await ingress.dropped("not_owner")
        heir.datagrams.send(name + b"\x80reply", way)
        assert (await caller.receive())[0] == b"\x80reply"
        await announce(bus, SlotMove(OLD, (*OLD[:2], 9), 1500))  # recorded before
        await until(written, "the move is in the state file")
        ingress.kill()
        await ingress.start()
        await check_reaches(caller, token, ingress, heir)
        assert not [each for each in lost.datagrams.waiting() if each.endswith(b"media")]
    caller.close()
    await bus.close()
