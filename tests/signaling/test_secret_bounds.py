"""What client secrets and API keys may do, with two instances of signaling on one NATS, against stand-ins.

That the transceiver of a call refuses foreign creators is in `tests/transceiver/test_creators.py`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.processes.nats import nats_server
from support.processes.signaling import OFFER, SignalingProcess, StandIn, StandIns, signaling_process, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from antiphon.runtime.api_keys import digest_of
from antiphon.schemas.messages import Refused, may_manage

pytestmark = pytest.mark.process

CALLS, SECRETS = "/v1/realtime/calls", "/v1/realtime/client_secrets"
SHOP, OTHER, CALLER, MANAGER = (f"sk-{letter}-{letter * 4}0123456789abcdefXYZ" for letter in "abcd")
SCOPES = {SHOP: ["calls", "secrets"], OTHER: ["calls", "secrets"], CALLER: ["calls"], MANAGER: ["calls.manage"]}


def key_file(*texts: str, **fields: Any) -> str:
    keys = [
        {"id": f"key_{text[3]}", "hash": f"sha256:{digest_of(text).hex()}", "scopes": SCOPES[text]} | fields
        for text in texts
    ]
    return json.dumps({"version": 1, "keys": keys})


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **headers}


class Two:
    """Two instances with the same keys, and what stands around them."""

    def __init__(self, file: Path, transceiver: StandIn, instances: list[SignalingProcess]) -> None:
        self.file, self.transceiver, self.instances = file, transceiver, instances
        self.first, self.second = (httpx.Client(base_url=each.url, timeout=15) for each in instances)

    def secret(self, key: str = SHOP, **body: Any) -> str:
        response = self.first.post(SECRETS, json=body, headers=bearer(key))
        assert response.status_code == 200, response.text
        return str(response.json()["value"])

    def call(self, token: str, at: httpx.Client | None = None, **headers: str) -> httpx.Response:
        headers = bearer(token, **{"Content-Type": "application/sdp", **headers})
        return (at or self.first).post(CALLS, content=OFFER, headers=headers)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"] if response.status_code >= 400 else ""


def running(nats_url: str, parts: StandIns, file: Path, **environment: str) -> Iterator[Two]:
    transceiver = parts.transceiver(capacity=10**6)
    parts.relay(), parts.agent()
    environment = {"ANTIPHON_API_KEYS_FILE": str(file), "ANTIPHON_SECRET_KEYS": "5e" * 32, **environment}
    with signaling_process(nats_url, **environment) as one, signaling_process(nats_url, **environment) as other:
        two = Two(file, transceiver, [one, other])
        for each in (two.first, two.second):
            until(lambda each=each: each.get("/healthz").status_code == 200, "the stack is healthy")  # type: ignore[misc]
        yield two
        two.first.close()
        two.second.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api-keys.json"
    path.write_text(key_file(*SCOPES))
    return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Two instances for most of the tests, which try so often that failures and calls of an address are not counted."""
    path = tmp_path_factory.mktemp("keys") / "api-keys.json"
    path.write_text(key_file(*SCOPES))
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        parts = StandIns(url)
        unlimited = {"ANTIPHON_LIMIT_FAILURES_PER_ADDRESS": "0", "ANTIPHON_LIMIT_CALLS_PER_ADDRESS": "0"}
        yield from running(url, parts, path, **unlimited)
        parts.close()


@pytest.fixture
def two(shared: Two) -> Iterator[Two]:
    shared.transceiver.opened.clear()
    yield shared
    shared.file.write_text(key_file(*SCOPES))
    for at in (shared.first, shared.second):
        for text in SCOPES:
            until(lambda at=at, text=text: at.get("/v1/agents", headers=bearer(text)).is_success, "all keys count")  # type: ignore[misc]


def test_a_secret_places_one_call_at_whichever_instance_and_however_many_ask_at_once(two: Two) -> None:
    value = two.secret()
    with ThreadPoolExecutor(12) as pool:
        asked = list(pool.map(lambda n: code_of(two.call(value, (two.first, two.second)[n % 2])), range(12)))
    assert sorted(asked) == [(201, ""), *[(401, "secret_used")] * 11]
    several = two.secret(max_calls=3)
    with ThreadPoolExecutor(12) as pool:
        asked = list(pool.map(lambda n: code_of(two.call(several, (two.first, two.second)[n % 2])), range(12)))
    assert sorted(asked) == [*[(201, "")] * 3, *[(401, "secret_used")] * 9]
    for wrong in (0, 1001, "1", 1.5, True):
        refused = two.first.post(SECRETS, json={"max_calls": wrong}, headers=bearer(SHOP))
        assert code_of(refused) == (400, "invalid_value"), wrong


def test_a_call_that_did_not_come_about_costs_its_secret_nothing(two: Two) -> None:
    value = two.secret()
    placed, two.transceiver.reply = two.transceiver.reply, Refused(code="full", message="full")
    assert code_of(two.call(value)) == (503, "overloaded")
    two.transceiver.reply = placed
    assert two.call(value, two.second).status_code == 201
    assert code_of(two.call(value)) == (401, "secret_used")


def test_the_transceiver_is_told_who_made_a_call_and_what_its_secret_has_fixed(two: Two) -> None:
    fixed = {"agent": "echo", "instructions": "fixed", "audio": {"output": {"voice": "fixed"}}}
    values = two.secret(session=fixed), two.secret(OTHER)
    for token in (*values, SHOP, OTHER):
        session = json.dumps({"instructions": "mine", "audio": {"output": {"speed": 1.2}}})
        files = {"sdp": (None, OFFER), "session": (None, session)}
        assert two.second.post(CALLS, files=files, headers=bearer(token)).status_code == 201
    by_secret, by_other, by_shop, by_its_key = two.transceiver.opened
    assert by_secret.locked == ["agent", "audio.output.voice", "instructions"]
    assert by_secret.session["instructions"] == "fixed"
    assert by_secret.session["audio"] == {"output": {"voice": "fixed", "speed": 1.2}}
    assert by_shop.locked == by_other.locked == []
    assert may_manage(by_shop.creator, by_secret.creator)
    assert not may_manage(by_its_key.creator, by_secret.creator)
    assert not may_manage(by_other.creator, by_secret.creator)
    assert not may_manage(by_secret.creator, by_shop.creator)
    assert by_secret.caller.startswith("a-")
    assert by_shop.caller.startswith("k-")
    for request in two.transceiver.opened:
        assert not any(secret in request.model_dump_json() for secret in ("127.0.0.1:", SHOP, "key_a", values[0]))


def test_a_secret_is_good_from_the_page_that_it_was_made_for_only(two: Two) -> None:
    value = two.secret(origin="HTTPS://shop.example:443", max_calls=2)
    assert code_of(two.call(value)) == (403, "foreign_origin")
    for wrong in ("https://evil.example", "null", "http://shop.example"):
        assert code_of(two.call(value, Origin=wrong)) == (403, "foreign_origin")
    placed = two.call(value, two.second, Origin="https://shop.example")
    assert placed.status_code == 201
    location = placed.headers["location"]
    assert code_of(two.first.delete(location, headers=bearer(value))) == (403, "foreign_origin")
    headers = bearer(value, Origin="https://shop.example")
    assert two.first.delete(location, headers=headers).status_code == 204
    for origin in ("shop.example", "https://shop.example/x", "https://", "*", "null", 7, "https://a@b", "https://a:x"):
        assert code_of(two.first.post(SECRETS, json={"origin": origin}, headers=bearer(SHOP)))[0] == 400


@pytest.mark.nightly
def test_a_secret_that_has_expired_places_no_call_and_still_hangs_up_its_own(two: Two) -> None:
    value = two.secret(expires_after={"anchor": "created_at", "seconds": 10}, max_calls=2)
    location = two.call(value).headers["location"]
    until(lambda: code_of(two.call(value, two.second)) == (401, "expired_secret"), "it expires", 30)
    assert two.first.post(f"{location}/hangup", headers=bearer(value)).status_code == 200


def test_a_side_channel_takes_api_keys_only(two: Two) -> None:
    value = two.secret()
    call_id = two.call(value).headers["location"].rpartition("/")[2]
    url = f"{two.instances[1].url.replace('http', 'ws')}/v1/realtime?call_id={call_id}"
    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None, additional_headers=bearer(value)):
        pass
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "server_key_needed"
    with connect(url, proxy=None, additional_headers=bearer(SHOP)):
        pass


def test_a_key_does_what_its_scopes_say_and_nothing_else(two: Two) -> None:
    location = two.call(CALLER).headers["location"]
    assert code_of(two.first.post(SECRETS, json={}, headers=bearer(CALLER))) == (403, "missing_scope")
    assert code_of(two.call(MANAGER)) == (403, "missing_scope")
    assert two.first.post(f"{location}/hangup", headers=bearer(MANAGER)).status_code == 200
    assert two.first.get("/v1/agents", headers=bearer(MANAGER)).status_code == 200


def test_a_revoked_key_ends_within_a_second_with_its_secrets_and_its_side_channels(two: Two) -> None:
    value, of_other = two.secret(max_calls=9), two.secret(OTHER)
    call_id = two.call(value).headers["location"].rpartition("/")[2]
    url = f"{two.instances[0].url.replace('http', 'ws')}/v1/realtime?call_id={call_id}"
    with (
        connect(url, proxy=None, additional_headers=bearer(SHOP)) as ending,
        connect(url, proxy=None, additional_headers=bearer(OTHER)) as staying,
    ):
        two.file.write_text(key_file(OTHER))
        with pytest.raises(ConnectionClosed) as closed:
            ending.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        for at in (two.first, two.second):
            until(lambda at=at: code_of(two.call(value, at)) == (401, "invalid_api_key"), "its secret has ended")  # type: ignore[misc]
            assert code_of(two.call(SHOP, at)) == (401, "invalid_api_key")
        staying.ping().wait(5)
    assert two.call(of_other, two.second).status_code == 201


def test_a_broken_file_of_keys_leaves_them_as_they_are(two: Two) -> None:
    two.file.write_text(key_file(OTHER)[:-20])
    until(lambda: "the keys stay as they were" in "".join(two.instances[0].lines), "it is named")
    assert two.call(SHOP).status_code == 201
    two.file.write_text(key_file(SHOP))
    until(lambda: two.call(OTHER).status_code == 401, "the file is read when it is whole again")
    assert "".join(two.instances[0].lines).count("the keys stay as they were") == 1


def test_no_key_and_no_secret_stands_in_a_log(two: Two) -> None:
    value = two.secret()
    two.call(value), two.call(value), two.call("sk-wrong-key-of-a-guesser")
    logged = "".join(two.instances[0].lines)
    assert "placed for agent" in logged
    for text in (value, value[3:40], SHOP, "sk-wrong-key-of-a-guesser"):
        assert text not in logged


def test_the_rates_of_a_key_count_across_instances(two: Two) -> None:
    two.file.write_text(key_file(SHOP, id="key_of_this_test", limits={"calls_per_minute": 4, "secrets_per_minute": 3}))
    for at in (two.first, two.second):
        until(lambda at=at: at.get("/v1/agents", headers=bearer(OTHER)).status_code == 401, "the file is read")  # type: ignore[misc]
    asked = [two.call(SHOP, (two.first, two.second)[n % 2]) for n in range(8)]
    assert [response.status_code for response in asked] == [201] * 4 + [429] * 4
    assert code_of(asked[-1]) == (429, "rate_limit_exceeded")
    assert 1 <= int(asked[-1].headers["retry-after"]) <= 15
    made = [(two.first, two.second)[n % 2].post(SECRETS, json={}, headers=bearer(SHOP)) for n in range(5)]
    assert [response.status_code for response in made] == [200] * 3 + [429] * 2
    assert code_of(two.call(made[0].json()["value"])) == (429, "rate_limit_exceeded"), "its key's calls are used up"


@pytest.fixture
def fresh(nats_url: str, stand_ins: StandIns, file: Path) -> Iterator[Two]:
    yield from running(nats_url, stand_ins, file)


def test_guesses_are_answered_slower_and_slower_at_all_instances_and_lock_out_nobody_with_a_real_key(
    fresh: Two,
) -> None:
    two = fresh
    for _ in range(11):
        assert two.call("sk-guess").status_code == 401
    blocked = until(lambda: (r := two.call("sk-guess", two.second)).status_code == 429 and r, "the other one knows")
    assert isinstance(blocked, httpx.Response)
    assert code_of(blocked) == (429, "too_many_failures")
    assert int(blocked.headers["retry-after"]) >= 1
    assert two.call(SHOP).status_code == 201
    assert two.call(two.secret(), two.second).status_code == 201
    before = time.monotonic()
    until(lambda: two.call("sk-guess").status_code == 401, "the block ends")
    again = until(lambda: (r := two.call("sk-guess")).status_code == 429 and r, "the next block is longer")
    assert isinstance(again, httpx.Response)
    assert int(again.headers["retry-after"]) >= 2 or time.monotonic() - before > 1


def test_requests_of_an_address_are_bounded_also_while_nats_is_away(tmp_path: Path, file: Path) -> None:
    environment = {"ANTIPHON_API_KEYS_FILE": str(file), "ANTIPHON_LIMIT_REQUESTS_PER_ADDRESS": "20"}
    with (
        signaling_process("nats://127.0.0.1:9", **environment) as service,
        httpx.Client(base_url=service.url) as client,
    ):
        asked = [client.get("/v1/agents", headers=bearer(SHOP)).status_code for _ in range(25)]
        assert asked == [200] * 20 + [429] * 5
        assert client.get("/healthz").status_code == 503, "health has no limit"


def test_without_the_store_secrets_are_refused_with_a_time_to_come_back_and_keys_go_on(
    tmp_path: Path, file: Path
) -> None:
    with nats_server(tmp_path / "nats") as url:
        parts = StandIns(url)
        try:
            for two in running(url, parts, file):
                value, kept = two.secret(), two.secret()
                assert two.call(value).status_code == 201
                parts.without_limits()
                for refused in (two.call(kept), two.first.post(SECRETS, json={}, headers=bearer(SHOP))):
                    assert code_of(refused) == (503, "limits_unavailable")
                    assert int(refused.headers["retry-after"]) >= 1
                assert two.call(SHOP).status_code == 201
                parts.with_limits()
                assert code_of(two.call(value)) == (401, "expired_secret"), "its use is forgotten, so it is as well"
                assert two.call(two.secret(), two.second).status_code == 201
        finally:
            parts.close()


@pytest.mark.nightly
def test_on_loopback_without_keys_nothing_is_counted(signaling: SignalingProcess) -> None:
    async def many() -> set[int]:
        async with httpx.AsyncClient(base_url=signaling.url) as client:
            return {(await client.post(SECRETS, json={})).status_code for _ in range(1500)}

    assert asyncio.run(many()) == {200}
