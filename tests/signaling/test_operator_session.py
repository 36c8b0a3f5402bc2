"""The cookie of the console: what it stands for, where it counts, and what it does not survive."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from antiphon.runtime.api_keys import ApiKey, KeyTable, digest_of
from antiphon.signaling.auth import operator_session
from antiphon.signaling.auth.client_secret import SecretSigner
from antiphon.signaling.http.app import create_app
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.settings import Settings

pytestmark = pytest.mark.pure

KEY = "an-operators-key-of-some-length"
CONSOLE = {"Antiphon-Console": "1"}
SESSION = "/v1/operator/session"


def key(text: str = KEY, **fields: object) -> ApiKey:
    given = {"id": "night", "hash": f"sha256:{digest_of(text).hex()}", "scopes": frozenset({"operator"})}
    return ApiKey.model_validate(given | fields)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate({"api_keys": KEY})
    app = create_app(settings, Backend(settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        yield client


def test_it_ends_with_its_key_its_time_and_the_secret_keys() -> None:
    signer, now = SecretSigner("ab" * 32), time.time()
    cookie, expires_at = operator_session.made(key(), signer, now)
    read = operator_session.read

    assert read(cookie, SecretSigner("ab" * 32), KeyTable([key()]), now) == key(), "at every instance"
    assert read(cookie, signer, KeyTable([]), now) is None, "revoked"
    assert read(cookie, signer, KeyTable([key("another text")]), now) is None, "another key with its id"
    assert read(cookie, signer, KeyTable([key(scopes=frozenset({"calls"}))]), now) is None, "no operator any more"
    assert read(cookie, signer, KeyTable([key()]), expires_at) is None, "its time is over"
    assert read(cookie, SecretSigner("cd" * 32), KeyTable([key()]), now) is None, "of another server"
    rotated = SecretSigner(f"{'cd' * 32},{'ab' * 32}")
    assert read(cookie, rotated, KeyTable([key()]), now) == key(), "while the keys are rotated"


def test_it_does_not_outlive_a_key_that_expires() -> None:
    end = "2027-01-01T00:00:00Z"
    expiring, signer = key(expires=end), SecretSigner("ab" * 32)
    assert expiring.expires is not None
    unix = expiring.expires.timestamp()
    assert operator_session.made(expiring, signer, unix - 60)[1] == unix


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_part_of_it_can_be_changed(part: int) -> None:
    signer, now = SecretSigner("ab" * 32), time.time()
    others = KeyTable([key(), key("x", id="other")])
    parts = operator_session.made(key(), signer, now)[0].split(".")
    parts[part] = ["other", str(int(parts[1]) + 9999), parts[2][::-1]][part]
    assert operator_session.read(".".join(parts), signer, others, now) is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.1.b", "night.99999999999.", "night." + "9" * 50 + "." + "a" * 43, "é"]
)
def test_what_is_no_cookie_of_ours_is_nobody(text: str) -> None:
    assert operator_session.read(text, SecretSigner("ab" * 32), KeyTable([key()]), 1.0) is None


async def test_signing_in_gives_a_cookie_that_no_script_and_no_other_site_can_use(http: httpx.AsyncClient) -> None:
    answer = await http.post(SESSION, json={"key": KEY}, headers=CONSOLE)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/v1/operator"):
        assert attribute in cookie
    assert KEY not in cookie
    assert (await http.get(SESSION, headers=CONSOLE)).status_code == 200
    assert (await http.get(SESSION)).status_code == 401, "a page of a sibling host can't send the header"
    assert (await http.get("/v1/agents", headers=CONSOLE)).status_code == 401, "it is for operators' routes"
    await http.delete(SESSION)
    assert (await http.get(SESSION, headers=CONSOLE)).status_code == 401


async def test_it_is_sent_over_tls_only_where_there_is_tls(http: httpx.AsyncClient) -> None:
    http.base_url = httpx.URL("https://localhost")
    answer = await http.post(SESSION, json={"key": KEY}, headers=CONSOLE)
    assert "Secure" in answer.headers["set-cookie"]


async def test_other_pages_may_not_ask_to_send_the_header(http: httpx.AsyncClient) -> None:
    asks = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "antiphon-console",
    }
    answer = await http.options(SESSION, headers=asks)
    assert "antiphon-console" not in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ({"key": KEY}, {}, 403, "console_only"),
        ({"key": "wrong"}, CONSOLE, 401, "invalid_api_key"),
        ({}, CONSOLE, 400, "invalid_value"),
        ({"key": ["a"]}, CONSOLE, 400, "invalid_value"),
        ({"key": "a\r\nb"}, CONSOLE, 400, "invalid_value"),
        ({"key": "a" * 5000}, CONSOLE, 400, "invalid_value"),
    ],
)
async def test_a_sign_in_that_cant_be_is_refused_in_json(
    http: httpx.AsyncClient, body: dict[str, object], headers: dict[str, str], status: int, code: str
) -> None:
    answer = await http.post(SESSION, json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "set-cookie" not in answer.headers


async def test_the_page_loads_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    answer = await http.get("/console")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "'unsafe" not in policy
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text


@pytest.mark.parametrize("path", ["/calls/rtc_1/timeline", "/calls/rtc_1/ended", "/ended", "/session"])
async def test_every_route_asks_for_a_key(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(f"/v1/operator{path}")).status_code == 401


@pytest.mark.parametrize("path", ["/calls/rtc_1/timeline", "/calls/rtc_1/ended", "/ended"])
async def test_without_nats_they_say_so(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/v1/operator{path}", headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "nats_down")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/calls/rtc_1/timeline?after=-1", 422),
        ("/calls/rtc_1/timeline?after=x", 422),
        ("/calls/rtc_1/timeline?after=99999999999999999999", 422),
        ("/calls/rtc.%3E/timeline", 404),
        ("/calls/*/timeline", 404),
        ("/calls/%F0%9F%92%A9/ended", 404),
    ],
)
async def test_what_is_no_call_or_number_is_refused_before_nats_is_asked(
    http: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await http.get(f"/v1/operator{path}", headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
