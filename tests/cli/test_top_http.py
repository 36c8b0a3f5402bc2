"""`antiphon top --url`: pages of signaling's listing, and one line for what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from antiphon.cli.top.http_source import HttpSource
from antiphon.cli.top.source import SourceError

pytestmark = pytest.mark.virtual

URL = "http://signaling.test"


def source(answer: Callable[[httpx.Request], httpx.Response], url: str = URL) -> HttpSource:
    return HttpSource(httpx.AsyncClient(transport=httpx.MockTransport(answer)), url)


def summary(name: str) -> dict[str, Any]:
    return {"session_id": name, "agent": "echo", "state": "running", "began": 1.0}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, '{"error": {"message": "no key"}}', "401: no key; give an API key by --api-key"),
        (403, '{"error": {"message": "scope operator is missing"}}', "`antiphon api-keys` makes a key with the scope"),
        (404, "not\nhere", "404: not here"),
        (503, '{"error": {"message": "NATS is away"}}', "503: NATS is away"),
        (302, "", "302"),
        (200, "<html>", "is this Antiphon's address"),
        (200, "[]", "is this Antiphon's address"),
        (200, '{"data": [{"session_id": 5}]}', "no listing of calls"),
        (200, '{"data": [], "total": {}}', "no listing of calls"),
        (200, '{"data": [], "incomplete": 7}', "no listing of calls"),
    ],
)
async def test_what_signaling_refuses_is_one_line(status: int, body: str, expected: str) -> None:
    with pytest.raises(SourceError) as error:
        await source(lambda _: httpx.Response(status, text=body)).snapshot()
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://[", ""])
async def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(SourceError, match="is no URL"):
        await HttpSource(httpx.AsyncClient(), url).snapshot()


async def test_all_pages_are_fetched_and_silent_owners_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/processes"):
            return httpx.Response(200, json={"data": [{"service": "antiphon-relay", "id": "i", "version": "1.0.0"}]})
        after = request.url.params.get("after", "")
        page = {"": ["rtc_a", "rtc_b"], "rtc_b": ["rtc_c"]}[after]
        missing = ["transceiver 0.1"] if after else []
        body = {"data": list(map(summary, page)), "has_more": not after, "total": 3, "incomplete": missing}
        return httpx.Response(200, text=json.dumps(body))

    found = await source(answer).snapshot()
    assert [call.session_id for call in found.calls] == ["rtc_a", "rtc_b", "rtc_c"]
    assert (found.total, found.incomplete) == (3, ["transceiver 0.1"])
    assert [process.service for process in found.processes] == ["antiphon-relay"]


async def test_a_page_that_comes_again_and_again_ends_the_listing() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.path.endswith("/processes"):
            return httpx.Response(200, json={"data": []})
        return httpx.Response(200, json={"data": [summary("rtc_a")], "has_more": True, "total": 9})

    assert len((await source(answer).snapshot()).calls) == 1
    assert len(asked) == 3  # two pages, and the processes


async def test_an_id_stays_one_part_of_the_path() -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={})

    await source(answer).hang_up("../x?y")
    await source(answer).drain("antiphon-relay", "a/b")
    assert paths == [b"/v1/operator/calls/..%2Fx%3Fy/hang_up", b"/v1/operator/processes/antiphon-relay/a%2Fb/drain"]
