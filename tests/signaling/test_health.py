"""`/healthz` says 200 exactly while a call would succeed, and which part is missing otherwise."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support.processes.nats import nats_server
from support.processes.signaling import SignalingProcess, StandIns, signaling_process, until

pytestmark = pytest.mark.process


def failing(http: httpx.Client) -> set[str]:
    response = http.get("/healthz")
    body = response.json()
    assert response.status_code == (503 if body["status"] == "failing" else 200)
    return set(body.get("failing", {}))


def test_every_missing_part_is_named_until_it_comes_and_again_when_it_dies(
    http: httpx.Client, stand_ins: StandIns
) -> None:
    until(lambda: failing(http) == {"transceiver", "relay", "agent"}, "all but NATS are missing")
    transceiver = stand_ins.transceiver()
    until(lambda: failing(http) == {"relay", "agent"}, "the transceiver came")
    relay = stand_ins.relay()
    until(lambda: failing(http) == {"agent"}, "the relay came")
    stranger = stand_ins.agent("echo")
    agent = stand_ins.agent()
    until(lambda: failing(http) == set(), "all is there")
    stand_ins.stop(agent)
    until(lambda: failing(http) == {"agent"}, "the default agent died")
    agent = stand_ins.agent()
    until(lambda: failing(http) == set(), "it came back")
    stand_ins.stop(transceiver)
    until(lambda: failing(http) == {"transceiver"}, "the transceiver died", seconds=4)
    stand_ins.stop(relay)
    until(lambda: failing(http) == {"transceiver", "relay"}, "the relay died", seconds=4)
    stand_ins.stop(stranger)


def test_an_agent_in_trouble_takes_calls_and_is_named(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.transceiver()
    stand_ins.relay()
    agent = stand_ins.agent(trouble="its chat server is gone")
    until(lambda: failing(http) == set(), "all is there")
    assert http.get("/healthz").json() == {"status": "ok", "troubles": {"concierge": "its chat server is gone"}}
    stand_ins.stop(agent)


def test_a_full_or_draining_stack_is_not_healthy(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.agent()
    stand_ins.relay()
    stand_ins.transceiver(1, sessions=10, capacity=10)
    stand_ins.transceiver(2, state="draining")
    until(lambda: failing(http) == {"transceiver"}, "no transceiver has room")
    stand_ins.transceiver(3)
    until(lambda: failing(http) == set(), "one with room came")


def test_a_draining_relay_does_not_count(http: httpx.Client, stand_ins: StandIns) -> None:
    stand_ins.agent()
    stand_ins.transceiver()
    stand_ins.relay(state="draining")
    until(lambda: failing(http) == {"relay"}, "no relay is ready")


def test_nats_may_come_late_go_away_and_come_back(tmp_path: Path) -> None:
    with nats_server(tmp_path / "first") as url:
        port = int(url.rsplit(":")[-1])
    with signaling_process(url) as service, httpx.Client(base_url=service.url) as http:
        assert failing(http) == {"nats"}
        assert http.get("/").status_code == 200
        for life in ("second", "third"):
            with nats_server(tmp_path / life, port=port):
                parts = StandIns(url)
                parts.transceiver(), parts.relay(), parts.agent()
                until(lambda: failing(http) == set(), f"all is there in the {life} life of NATS")
                parts.close()
            until(lambda: failing(http) == {"nats"}, "NATS went away")


def test_the_agents_in_the_register_are_listed(http: httpx.Client, stand_ins: StandIns) -> None:
    assert http.get("/v1/agents").json() == {"agents": [], "default": "concierge"}
    for name in ("echo", "concierge", "echo"):
        stand_ins.agent(name)
    until(lambda: http.get("/v1/agents").json()["agents"] == ["concierge", "echo"], "both are listed once")


def test_what_was_announced_before_the_start_is_read_from_the_buckets(nats_url: str) -> None:
    import asyncio

    from antiphon.runtime.nats import buckets, connection
    from antiphon.schemas import subjects
    from antiphon.schemas.messages import RelayAnnouncement, TransceiverAnnouncement, encode
    from antiphon.signaling.placement.backend import Backend
    from antiphon.signaling.settings import Settings

    async def scenario() -> None:
        client = await connection.connect(nats_url, "test")
        js = client.jetstream()
        relay = RelayAnnouncement(name="r1", public_addresses=["192.0.2.1:1"], tunnel_addresses=["192.0.2.1:2"])
        transceiver = TransceiverAnnouncement(
            cluster=0, slot=4, epoch=1, tunnel_address="10.0.0.1:1", state="ready", sessions=0, capacity=1
        )
        await (await buckets.bucket(js, subjects.BUCKET_RELAYS)).put("r1", encode(relay))
        slots = await buckets.bucket(js, subjects.BUCKET_TRANSCEIVERS)
        await slots.put(subjects.slot_key(0, 4), encode(transceiver))
        backend = Backend(Settings(nats_url=nats_url))
        backend.start()
        loop = asyncio.get_running_loop()
        try:
            deadline = loop.time() + 10
            while not (backend.directory.transceivers(loop.time()) and backend.directory.relays(loop.time())):
                assert loop.time() < deadline, "the buckets were not read within 10 s"
                await asyncio.sleep(0.01)
        finally:
            await backend.stop()
            await client.close()

    asyncio.run(scenario())


def test_the_page_is_served_with_nothing_from_elsewhere(signaling: SignalingProcess) -> None:
    with httpx.Client(base_url=signaling.url) as http:
        page = http.get("/")
        assert "http" not in page.text.replace("http://www.w3.org/", "")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        for name in ("page.js", "call.js", "conversation.js", "levels.js", "recorder.js", "page.css", "icon.svg"):
            assert http.get(f"/static/{name}").status_code == 200
