"""A call belongs to the credential that made it: its transceiver refuses others, whichever signaling they ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.processes.signaling import SignalingProcess
from support.processes.transceiver_process import Bench, Line
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from antiphon.runtime.api_keys import digest_of
from antiphon.schemas import messages, subjects

pytestmark = pytest.mark.process

CALLS = "/v1/realtime/calls"
SDP = {"Content-Type": "application/sdp"}
SHOP, OTHER, MANAGER = (f"sk-{letter}-{letter * 4}0123456789abcdefXYZ" for letter in "abc")
SCOPES = {SHOP: ["calls", "secrets"], OTHER: ["calls", "secrets"], MANAGER: ["calls", "calls.manage"]}


class Service:
    """Both instances, and the calls that are made with them."""

    def __init__(self, bench: Bench, clients: list[httpx.AsyncClient], urls: list[str]) -> None:
        self.bench, self.clients, self.urls = bench, clients, urls

    async def secret(self, key: str = SHOP, **body: Any) -> str:
        headers = {"Authorization": f"Bearer {key}"}
        made = await self.clients[0].post("/v1/realtime/client_secrets", json=body, headers=headers)
        assert made.status_code == 200, made.text
        return str(made.json()["value"])

    async def send(self, method: str, path: str, token: str, at: int = 1, content: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **(SDP if content else {})}
        return await self.clients[at].request(method, path, headers=headers, content=content)

    async def call(self, token: str) -> tuple[str, str, Line]:
        """(path, offer, line) of a call that is up."""
        peer = self.bench.peer()
        offer = peer.offer()
        placed = await self.send("POST", f"{CALLS}?agent=echo", token, 0, offer)
        assert placed.status_code == 201, placed.text
        path = placed.headers["location"]
        return path, offer, self.bench.lines[path.rpartition("/")[2]]

    async def attached(self, path: str, token: str) -> tuple[int, str]:
        url = f"{self.urls[1].replace('http', 'ws')}/v1/realtime?call_id={path.rpartition('/')[2]}"
        try:
            async with connect(url, proxy=None, additional_headers={"Authorization": f"Bearer {token}"}):
                return 101, ""
        except InvalidStatus as refused:
            return refused.response.status_code, json.loads(refused.response.body or b"")["error"]["code"]


@pytest.fixture
async def service(bench: Bench, tmp_path: Path) -> AsyncIterator[Service]:
    file = tmp_path / "keys.json"
    keys = [
        {"id": f"key_{text[3]}", "hash": f"sha256:{digest_of(text).hex()}", "scopes": scopes}
        for text, scopes in SCOPES.items()
    ]
    file.write_text(json.dumps({"version": 1, "keys": keys}))
    environment = {"ANTIPHON_API_KEYS_FILE": str(file), "ANTIPHON_SECRET_KEYS": "5e" * 32}
    async with AsyncExitStack() as stack:
        instances = []
        for _ in range(2):
            started = await asyncio.to_thread(SignalingProcess, bench.nats_url, **environment)
            stack.push_async_callback(asyncio.to_thread, started.stop)
            instances.append(started)
        clients = [httpx.AsyncClient(base_url=each.url, timeout=15) for each in instances]
        for client in clients:
            await stack.enter_async_context(client)
            async with asyncio.timeout(15):
                while True:
                    failing = (await client.get("/healthz")).json().get("failing", {})
                    if not {"nats", "transceiver", "relay"} & {
                        part for part, why in failing.items() if "register" not in why
                    }:
                        break
                    await asyncio.sleep(0.05)
        yield Service(bench, clients, [each.url for each in instances])


async def test_nobody_but_its_creator_hangs_a_call_up_restarts_it_or_sees_it(service: Service) -> None:
    value = await service.secret(max_calls=2)
    foreign = await service.secret(OTHER, max_calls=2), await service.secret(max_calls=2), OTHER
    path, offer, line = await service.call(value)
    nothing = f"{CALLS}/rtc_{'x' * 24}"
    for token in foreign:
        for method, at, content in (("POST", "/hangup", None), ("DELETE", "", None), ("POST", "", offer)):
            answer = await service.send(method, path + at, token, content=content)
            unknown = await service.send(method, nothing + at, token, content=content)
            assert answer.status_code == unknown.status_code == 404
            assert answer.json()["error"]["code"] == "no_call"
            # Nothing is learned: the answer is that of a call that never was.
            assert answer.text.replace(path[-28:], "") == unknown.text.replace(nothing[-28:], "")
        status = (await service.send("GET", path, token)).json()
        assert status["status"] == "unknown"
    assert line.ended is None
    assert (await service.send("GET", path, value)).json()["status"] == "running"
    assert (await service.send("POST", path, value, content=offer)).status_code == 200
    assert (await service.send("POST", f"{path}/hangup", value)).status_code == 200
    await service.bench.until(lambda: line.ended == "hang_up", "its creator has hung it up")
    assert (await service.send("GET", path, value)).json()["status"] == "ended"
    assert (await service.send("GET", path, OTHER)).json()["status"] == "unknown"


async def test_a_side_channel_is_for_the_key_that_made_the_call_or_its_secret_and_for_managers(
    service: Service,
) -> None:
    value = await service.secret()
    path, _, _ = await service.call(value)
    assert await service.attached(path, OTHER) == (404, "no_call")
    assert await service.attached(path, value) == (403, "server_key_needed")
    assert await service.attached(path, SHOP) == (101, "")
    assert await service.attached(path, MANAGER) == (101, "")


async def test_a_manager_and_the_key_of_a_secret_end_its_call(service: Service) -> None:
    for token in (SHOP, MANAGER):
        path, _, line = await service.call(await service.secret())
        assert (await service.send("DELETE", path, token)).status_code == 204
        await service.bench.until(lambda line=line: line.ended == "hang_up", "it has ended")  # type: ignore[misc]


async def test_what_a_secret_fixes_reaches_the_agent_s_claim(bench: Bench) -> None:
    claims: list[messages.Claim] = []

    async def claimed(message: Any) -> None:
        claims.append(messages.decode(message.data, messages.Claim))

    await bench.client.subscribe(subjects.agent_claim("echo"), cb=claimed)
    request = messages.OpenRequest(
        offer=bench.peer().offer(), agent="echo", session={"instructions": "x"}, locked=["instructions"]
    )
    subject = subjects.transceiver_open(0, bench.announcement.slot)
    await bench.client.request(subject, messages.encode(request), timeout=10)
    assert [claim.locked for claim in claims] == [["instructions"]]
