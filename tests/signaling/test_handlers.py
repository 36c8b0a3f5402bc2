"""Handlers run by themselves: what they need comes in as arguments, so a test can name it."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from fastapi import Request

from antiphon.runtime.api_keys import KeyTable, keys_of_list
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.auth.client_secret import ClientSecret
from antiphon.signaling.calls.configuration import agent_of
from antiphon.signaling.http.app import create_app, create_authenticator
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.health import healthz
from antiphon.signaling.limits.limits import ClientAddress
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.protocols import client_secrets, openai_calls
from antiphon.signaling.settings import Settings

pytestmark = pytest.mark.process

SERVER = Caller(ClientAddress("test"))
(KEY,) = keys_of_list(["a-key-of-some-length"])


def holder(settings: dict[str, object]) -> Caller:
    """The holder of a secret with these settings."""
    return Caller(ClientAddress("test"), KEY, ClientSecret("id", KEY, settings, 1, "", 2**40, 0, ""))


def request_with(body: bytes, query: str = "") -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "headers": headers, "query_string": query.encode()}, receive)


async def test_a_secret_is_made_with_the_credentials_that_are_handed_in() -> None:
    settings = Settings()
    authenticator = create_authenticator(settings, Backend(settings))
    body = b'{"session": {"agent": "echo"}, "expires_after": {"seconds": 60}}'
    response = await client_secrets.client_secrets(request_with(body), SERVER, authenticator)
    secret = json.loads(bytes(response.body))["value"]
    assert authenticator.signer.read(secret, KeyTable([]), time.time()).settings == {"agent": "echo"}


async def test_a_secret_is_refused_to_the_holder_of_a_secret() -> None:
    settings = Settings()
    authenticator = create_authenticator(settings, Backend(settings))
    with pytest.raises(ApiError) as refused:
        await client_secrets.client_secrets(request_with(b""), holder({}), authenticator)
    assert refused.value.code == "server_key_needed"


async def test_the_agent_of_a_secret_wins_over_the_url_and_the_session() -> None:
    settings = Settings()
    backend = Backend(settings)
    request = request_with(b"", query="agent=of-the-url")
    session = {"agent": "of-the-session"}
    cases: list[tuple[dict[str, object], str]] = [({"agent": "of-the-secret"}, "of-the-secret"), ({}, "of-the-url")]
    for fixed, expected in cases:
        assert await agent_of(request, holder(fixed), session, settings, backend) == expected
    assert await agent_of(request_with(b""), SERVER, {}, settings, backend) == settings.default_agent


@pytest.mark.parametrize("call_id", ["nonsense", "rtc_", "rtc_a.b", "rtc_*"])
async def test_a_text_that_names_no_call_is_404_before_nats_is_asked(call_id: str) -> None:
    with pytest.raises(ApiError) as refused:
        await openai_calls.session_id_of(call_id)
    assert (refused.value.status, refused.value.code) == (404, "no_call")


async def test_without_nats_the_health_report_names_nats_only() -> None:
    settings = Settings()
    response = await healthz(settings, Backend(settings))
    assert response.status_code == 503
    assert list(json.loads(bytes(response.body))["failing"]) == ["nats"]


async def test_two_applications_in_one_process_share_nothing() -> None:
    answers = []
    for agent in ("first", "second"):
        settings = Settings(default_agent=agent)
        transport = httpx.ASGITransport(create_app(settings, Backend(settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            answers.append((await http.get("/v1/agents")).json()["default"])
            assert (await http.get("/v1/realtime/calls/rtc_abc")).json()["error"]["code"] == "nats_down"
    assert answers == ["first", "second"]
