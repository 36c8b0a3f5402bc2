"""Prepared calls at signaling, against a transceiver that the test plays: what they cost, what takes their place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.signaling import ANSWER, OFFER, SignalingProcess, StandIn, StandIns, signaling_process, until

from antiphon.runtime.api_keys import digest_of
from antiphon.runtime.nats import connection
from antiphon.schemas import subjects
from antiphon.schemas.messages import Opened, Refused
from antiphon.signaling.limits.secret_uses import NOT_OURS, PreparedUse, SecretUses

PREPARE, CALLS, SECRETS = "/v1/realtime/prepare", "/v1/realtime/calls", "/v1/realtime/client_secrets"
KEY = "sk-a-aaaa0123456789abcdefXYZ"
FIRST, SECOND = (f"rtc_{letter * 24}" for letter in "ab")


class Server:
    """One instance with a key, and its transceiver."""

    def __init__(self, nats_url: str, process: SignalingProcess, transceiver: StandIn) -> None:
        self.nats_url, self.transceiver = nats_url, transceiver
        self.http = httpx.Client(base_url=process.url, timeout=15)

    def secret(self) -> str:
        return str(self.http.post(SECRETS, json={}, headers={"Authorization": f"Bearer {KEY}"}).json()["value"])

    def offer(self, path: str, token: str, session_id: str) -> httpx.Response:
        """The transceiver will answer with this call."""
        self.transceiver.reply = Opened(session_id=session_id, answer=ANSWER, cluster=0)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        return self.http.post(path, content=OFFER, headers=headers)

    def mark_used(self, session_id: str) -> None:
        """As the transceiver does when the client of a prepared call is connected."""

        async def put() -> None:
            client = await connection.connect_once(self.nats_url, "test")
            await (await client.jetstream().key_value(subjects.BUCKET_LIMITS)).put(
                subjects.prepared_mark(session_id), b"used"
            )
            await client.close()

        asyncio.run(put())


@pytest.fixture
def server(nats_url: str, stand_ins: StandIns, tmp_path: Path) -> Iterator[Server]:
    file = tmp_path / "api-keys.json"
    key = {"id": "key_a", "hash": f"sha256:{digest_of(KEY).hex()}", "scopes": ["calls", "secrets"]}
    file.write_text(json.dumps({"version": 1, "keys": [key | {"limits": {"calls_per_minute": 30}}]}))
    transceiver = stand_ins.transceiver(capacity=10**6)
    stand_ins.relay(), stand_ins.agent()
    environment = {"ANTIPHON_API_KEYS_FILE": str(file), "ANTIPHON_SECRET_KEYS": "5e" * 32}
    with signaling_process(nats_url, **environment) as process:
        running = Server(nats_url, process, transceiver)
        until(lambda: running.http.get("/healthz").status_code == 200, "the stack is healthy")
        yield running
        running.http.close()


@pytest.mark.process
def test_what_a_secret_has_prepared_is_replaced_by_what_comes_next_and_counts_once(server: Server) -> None:
    answered = server.offer(PREPARE, KEY, FIRST)
    assert answered.status_code == 201
    assert answered.headers["location"] == f"{CALLS}/{FIRST}"
    assert answered.headers["antiphon-prepared"] == "60"
    assert "a=candidate:" in answered.text
    assert [each.prepare for each in server.transceiver.opened] == [""], "an API key has any number of them"

    # A newer one takes over the use, whether the transceiver knows the older one or not.
    secret = server.secret()
    for withdrawal in (Opened(session_id=FIRST, answer=""), Refused(code="no_session", message=""), None):
        server.transceiver.withdrawal = withdrawal
        assert server.offer(PREPARE, secret, FIRST).status_code == 201
    holders = {each.prepare for each in server.transceiver.opened[1:]}
    assert holders == {server.transceiver.opened[-1].creator}
    assert server.transceiver.withdrawn == [FIRST, FIRST]
    # So does an ordinary call, and that is the secret's only one.
    assert server.offer(CALLS, secret, SECOND).status_code == 201
    assert server.transceiver.opened[-1].prepare is None
    for path in (PREPARE, CALLS):
        refused = server.offer(path, secret, SECOND)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "secret_used")
    assert len(server.transceiver.withdrawn) == 3

    # One that is in use, or was, has used the secret up.
    for reply, marked in ((Refused(code="in_use", message=""), False), (Refused(code="no_session", message=""), True)):
        secret = server.secret()
        assert server.offer(PREPARE, secret, FIRST).status_code == 201
        if marked:
            server.mark_used(FIRST)
        server.transceiver.withdrawal = reply
        assert server.offer(CALLS, secret, SECOND).status_code == 401

    # One that was refused has cost nothing.
    secret = server.secret()
    server.transceiver.reply = Refused(code="not_prepared", message="the bucket takes nothing")
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
    refused = server.http.post(PREPARE, content=OFFER, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_prepared")
    assert server.offer(CALLS, secret, SECOND).status_code == 201

    # Who prepares without end is told to wait, as who places calls without end.
    codes = [server.offer(PREPARE, KEY, FIRST).status_code for _ in range(40)]
    assert codes.count(429) >= 10
    assert codes[-1] == 429


@pytest.mark.pure
@given(
    st.integers(0, 999_999_999),
    st.none()
    | st.builds(
        PreparedUse,
        st.from_regex(r"rtc_[A-Za-z0-9]{1,60}", fullmatch=True),
        st.integers(0, 4095),
        st.integers(0, 65535),
    ),
)
def test_uses_of_a_secret_are_read_as_they_were_written(count: int, prepared: PreparedUse | None) -> None:
    uses = SecretUses(count, prepared)
    assert SecretUses.from_bytes(uses.to_bytes()) == uses


@pytest.mark.pure
@pytest.mark.parametrize("rubbish", [b"", b"x", b"-1", b"1 rtc_a", b"1 rtc_a 0 1 2", b"9" * 40, b"1 rtc_! 0 1"])
def test_an_entry_that_nobody_of_us_wrote_allows_nothing_more(rubbish: bytes) -> None:
    assert SecretUses.from_bytes(rubbish) == SecretUses(NOT_OURS)


@pytest.mark.pure
def test_a_prepared_call_that_was_not_used_gives_its_use_back() -> None:
    uses = SecretUses(3, PreparedUse(FIRST, 0, 1))
    assert uses.settled(was_used=False) == SecretUses(2)
    assert uses.settled(was_used=True) == SecretUses(3)
    assert SecretUses(3).settled(was_used=False) == SecretUses(3)
