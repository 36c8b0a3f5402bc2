"""What the client asks of the server when it places a call, and what it learns from the answer."""

from __future__ import annotations

import httpx
import pytest

from antiphon.cli.call.call_client import Placed, place

pytestmark = pytest.mark.pure


async def placed(region: str | None, **headers: str) -> tuple[Placed, httpx.QueryParams]:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(201, text="v=0", headers={"Location": "/v1/realtime/calls/rtc_1", **headers})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        found = await place(http, "http://127.0.0.1:8080", "v=0", "echo", region)
    return found, asked[0].url.params


async def test_the_region_is_asked_for_and_the_one_that_serves_is_told() -> None:
    found, params = await placed("eu", **{"Antiphon-Region": "eu", "Antiphon-Ingress": "s%C3%BCd"})
    assert dict(params) == {"agent": "echo", "region": "eu"}
    assert (found.region, found.ingress) == ("eu", "süd")


async def test_a_server_with_one_region_names_none() -> None:
    found, params = await placed(None)
    assert dict(params) == {"agent": "echo"}
    assert found == Placed("http://127.0.0.1:8080/v1/realtime/calls/rtc_1", "v=0")
