"""Who may call: keys, secrets, and what stands in for them on a machine without keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.processes.signaling import OFFER, SignalingProcess, StandIn, StandIns, signaling_process, until

from antiphon.runtime.api_keys import keys_of_list
from antiphon.signaling.auth.client_secret import SecretSigner

pytestmark = pytest.mark.process

KEY = "sk-test-0123456789abcdef"
SECRET_KEY = "5e" * 32
CALLS = "/v1/realtime/calls"
SECRETS = "/v1/realtime/client_secrets"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def transceiver(stand_ins: StandIns) -> StandIn:
    stand_ins.relay()
    stand_ins.agent()
    return stand_ins.transceiver()


@pytest.fixture
def locked(nats_url: str, transceiver: StandIn) -> Iterator[httpx.Client]:
    """A service with keys."""
    keys = f"{KEY}, sk-second-0123456789abcdef"
    with (
        signaling_process(nats_url, ANTIPHON_API_KEYS=keys, ANTIPHON_SECRET_KEYS=SECRET_KEY) as service,
        httpx.Client(base_url=service.url) as client,
    ):
        until(lambda: client.get("/healthz").status_code == 200, "the stack is healthy")
        yield client


def call(client: httpx.Client, token: str | None, session: str | None = None) -> httpx.Response:
    headers = bearer(token) if token is not None else {}
    if session is not None:
        return client.post(CALLS, files={"sdp": (None, OFFER), "session": (None, session)}, headers=headers)
    return client.post(CALLS, content=OFFER, headers={**headers, "Content-Type": "application/sdp"})


def test_with_keys_set_only_a_key_opens_calls(locked: httpx.Client) -> None:
    for token in (None, ".", "sk-wrong", KEY[:-1], KEY + "x", "ek_nonsense", "ek_a.b", "\xe9"):
        response = locked.post(
            CALLS,
            content=OFFER,
            headers=[(b"Content-Type", b"application/sdp")]
            + ([] if token is None else [(b"Authorization", b"Bearer " + token.encode("latin-1"))]),
        )
        assert response.status_code == 401, token
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["code"] in ("missing_api_key", "invalid_api_key")
    assert call(locked, KEY).status_code == 201
    assert call(locked, "sk-second-0123456789abcdef").status_code == 201


def test_with_keys_set_every_other_door_is_locked_too(locked: httpx.Client) -> None:
    for method, path in (
        ("GET", "/v1/agents"),
        ("POST", SECRETS),
        ("DELETE", f"{CALLS}/rtc_x"),
        ("POST", f"{CALLS}/rtc_x/hangup"),
    ):
        assert locked.request(method, path).status_code == 401, path
        assert locked.request(method, path, headers=bearer(KEY)).status_code in (200, 404), path


def test_the_page_and_health_need_no_key(locked: httpx.Client) -> None:
    assert locked.get("/").status_code == 200
    assert locked.get("/healthz").status_code == 200


def secret_for(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post(SECRETS, json=body, headers=bearer(KEY))
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_a_secret_places_a_call_with_the_settings_it_fixes(locked: httpx.Client, transceiver: StandIn) -> None:
    made = secret_for(locked, session={"type": "realtime", "agent": "echo", "instructions": "fixed"})
    assert made["value"].startswith("ek_")
    assert 0 < made["expires_at"] - time.time() <= 60
    assert made["session"]["instructions"] == "fixed"
    response = call(locked, made["value"], '{"agent": "other", "instructions": "mine", "voice": "mine"}')
    assert response.status_code == 201
    assert transceiver.opened[-1].agent == "echo"
    assert transceiver.opened[-1].session["instructions"] == "fixed"
    assert transceiver.opened[-1].session["voice"] == "mine"
    assert locked.post(f"{response.headers['location']}/hangup", headers=bearer(made["value"])).status_code == 200


def test_a_secret_made_here_is_good_at_another_replica(
    locked: httpx.Client, transceiver: StandIn, nats_url: str
) -> None:
    value = secret_for(locked)["value"]
    keys = {"ANTIPHON_API_KEYS": KEY, "ANTIPHON_SECRET_KEYS": SECRET_KEY}
    with signaling_process(nats_url, **keys) as other, httpx.Client(base_url=other.url) as client:
        until(lambda: client.get("/healthz").status_code == 200, "the replica is healthy")
        assert call(client, value).status_code == 201


def test_expired_and_forged_secrets_are_told_apart_and_refused(locked: httpx.Client) -> None:
    (key,) = keys_of_list([KEY])
    expired = SecretSigner(SECRET_KEY).mint({}, 60, time.time() - 61, key=key).value
    forged = SecretSigner("ab" * 32).mint({}, 60, time.time(), key=key).value
    assert call(locked, expired).json()["error"]["code"] == "expired_secret"
    assert call(locked, forged).json()["error"]["code"] == "invalid_api_key"


def test_a_secret_lives_as_long_as_asked_within_bounds(locked: httpx.Client) -> None:
    made = secret_for(locked, expires_after={"anchor": "created_at", "seconds": 7200})
    assert 7190 < made["expires_at"] - time.time() <= 7200
    for seconds in (9, 7201, "60", None, True, 60.5):
        body = {"expires_after": {"anchor": "created_at", "seconds": seconds}}
        assert locked.post(SECRETS, json=body, headers=bearer(KEY)).status_code == 400


def test_a_secret_makes_no_secrets(locked: httpx.Client) -> None:
    value = secret_for(locked)["value"]
    response = locked.post(SECRETS, json={}, headers=bearer(value))
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "server_key_needed"


def test_with_keys_every_origin_may_call_and_read_where_the_call_is(locked: httpx.Client) -> None:
    asking = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-openai-agents-sdk",
    }
    preflight = locked.options(CALLS, headers=asking)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    served = {"GET", "POST", "PATCH", "DELETE"}
    assert served <= set(preflight.headers["access-control-allow-methods"].split(", "))
    allowed = preflight.headers["access-control-allow-headers"]
    assert {"authorization", "content-type", "x-openai-agents-sdk"} <= set(allowed.split(", "))
    headers = {**bearer(KEY), "Origin": "https://shop.example", "Content-Type": "application/sdp"}
    response = locked.post(CALLS, content=OFFER, headers=headers)
    assert response.status_code == 201
    assert response.headers["access-control-allow-origin"] == "*"
    assert "Location" in response.headers["access-control-expose-headers"]
    refused = locked.post(CALLS, headers={"Origin": "https://shop.example"})
    assert refused.headers["access-control-allow-origin"] == "*"  # else a browser's script can't read why


def test_no_key_stands_in_the_log(nats_url: str) -> None:
    with signaling_process(nats_url, ANTIPHON_API_KEYS="short-key") as service:
        httpx.post(service.url + CALLS, headers=bearer("short-key"))
        until(lambda: [line for line in service.lines if "key 1 may be guessed" in line], "the short key is warned of")
        assert "short-key" not in "".join(service.lines)


# ---- without keys ----------------------------------------------------------------------------------


def test_without_keys_the_log_says_who_may_call(signaling: SignalingProcess) -> None:
    until(lambda: "this machine may call without a key" in "".join(signaling.lines), "the log says so")


def test_without_keys_a_foreign_host_name_is_refused(http: httpx.Client) -> None:
    for host in ("evil.example", "evil.example:8080", "10.0.0.1", "", "localhost.evil.example", "[::2]"):
        for path in ("/", "/healthz", "/v1/agents"):
            response = http.get(path, headers={"Host": host})
            assert response.status_code == 403, host
            assert response.json()["error"]["code"] == "foreign_host", host


def test_without_keys_the_machines_own_names_are_served(http: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8080", "antiphon.localhost"):
        assert http.get("/", headers={"Host": host}).status_code == 200, host


def test_without_keys_a_foreign_page_is_refused(http: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for response in (
            http.options(CALLS, headers=headers),
            http.post(CALLS, headers={"Origin": origin, "Content-Type": "application/sdp"}, content=OFFER),
        ):
            assert response.status_code == 403, origin
            assert "access-control-allow-origin" not in response.headers, origin


def test_without_keys_local_pages_may_call(http: httpx.Client) -> None:
    for origin in ("http://localhost:5173", str(http.base_url).rstrip("/")):
        response = http.get("/v1/agents", headers={"Origin": origin})
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == origin


def test_an_open_server_refuses_public_names_but_not_addresses(nats_url: str) -> None:
    with signaling_process(
        nats_url, ANTIPHON_HTTP_BIND="0.0.0.0:0", ANTIPHON_ALLOW_OPEN="1", ANTIPHON_ALLOWED_HOSTS="voice.example"
    ) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        for host, status in (
            ("192.168.1.7:8080", 200),
            ("signaling:8080", 200),
            ("voice.example", 200),
            ("evil.example", 403),
        ):
            assert httpx.get(url + "/", headers={"Host": host}).status_code == status, host
        until(lambda: "everybody who reaches this port" in "".join(service.lines), "the log says so")


def test_without_keys_any_token_will_do_and_a_secret_still_carries_settings(
    http: httpx.Client, healthy: StandIns
) -> None:
    assert call(http, "whatever").status_code == 201
    assert call(http, "ek_of_another_server").status_code == 201
    made = http.post(SECRETS, json={"session": {"agent": "echo"}}).json()
    assert call(http, made["value"]).status_code == 201
    assert healthy.running[0].opened[-1].agent == "echo"
