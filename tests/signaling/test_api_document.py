"""`/openapi.json` and `/docs`, CORS and OPTIONS: asked of the application itself, without NATS."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.types import ASGIApp

from antiphon.signaling.http.app import PROTOCOLS, create_app
from antiphon.signaling.http.static_files import STATIC
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.settings import Settings

pytestmark = pytest.mark.pure

KEYS = Settings.model_validate({"api_keys": "a-key-of-some-length"})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The application with keys: every origin may call."""
    app: ASGIApp = create_app(KEYS, Backend(KEYS))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        yield client


async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    response = await http.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def references(value: object) -> Iterator[str]:
    """Every `$ref` in the document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


async def test_every_route_of_the_api_is_in_the_document_with_its_methods(http: httpx.AsyncClient) -> None:
    paths = (await document(http))["paths"]
    served = {
        (route.path, method.lower())
        for module in PROTOCOLS
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    sockets = {
        (route.path, "get")
        for module in PROTOCOLS
        for route in module.router.routes
        if isinstance(route, APIWebSocketRoute)
    }
    assert served | sockets == {(path, method) for path, methods in paths.items() for method in methods}


async def test_every_operation_says_what_it_answers_and_whether_it_takes_a_key(http: httpx.AsyncClient) -> None:
    found = await document(http)
    names = []
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert operation["summary"], path
            assert any(status < "4" for status in operation["responses"]), path
            open_to_all = operation.get("security") == [{}]
            assert open_to_all or {"401", "403"} <= operation["responses"].keys(), (path, method)
            in_path = set(re.findall(r"{(\w+)}", path))
            given = [
                each if "name" in each else resolved(found, each["$ref"]) for each in operation.get("parameters", ())
            ]
            assert in_path == {each["name"] for each in given if each["in"] == "path"}, path
    assert len(names) == len(set(names))
    assert all(resolved(found, each) for each in set(references(found)))


def resolved(found: dict[str, Any], reference: str) -> Any:
    value: Any = found
    for key in reference.removeprefix("#/").split("/"):
        value = value[key]
    return value


async def test_the_page_of_the_document_loads_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"/static/api.css", "/static/api.js"} <= set(loaded)
    assert all(each.startswith("/") and not each.startswith("//") for each in loaded)
    for name in ("api.js", "api.css"):
        assert (await http.get(f"/static/{name}")).status_code == 200
        assert "//" not in re.sub(r"(?m)^//.*$", "", (STATIC / name).read_text())
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_a_preflight_of_every_route_allows_what_its_clients_send(http: httpx.AsyncClient) -> None:
    for path, methods in (await document(http))["paths"].items():
        for method, operation in methods.items():
            asked = "authorization,content-type,if-match,x-stainless-lang"
            preflight = await http.options(
                path.replace("{call_id}", "rtc_a").replace("{agent}", "echo"),
                headers={
                    "Origin": "https://shop.example",
                    "Access-Control-Request-Method": method.upper(),
                    "Access-Control-Request-Headers": asked,
                },
            )
            assert preflight.is_success, path
            assert preflight.headers["access-control-allow-origin"] == "*"
            assert method.upper() in ["HEAD", *preflight.headers["access-control-allow-methods"].split(", ")]
            assert set(asked.split(",")) <= set(preflight.headers["access-control-allow-headers"].split(", "))
            if "101" not in operation["responses"]:  # a WebSocket is no method of its path
                assert method.upper() in preflight.headers["allow"].split(", ")


async def test_options_without_a_preflight_says_what_a_path_takes(http: httpx.AsyncClient) -> None:
    for path, allow, bodies in (
        ("/v1/whip", "GET, HEAD, POST, OPTIONS", {"accept-post": "application/sdp"}),
        ("/v1/whip/echo", "GET, HEAD, POST, OPTIONS", {"accept-post": "application/sdp"}),
        (
            "/v1/whip/sessions/rtc_a",
            "GET, HEAD, PATCH, DELETE, OPTIONS",
            {"accept-patch": "application/trickle-ice-sdpfrag"},
        ),
        ("/v1/realtime/calls", "POST, OPTIONS", {"accept-post": "application/sdp, multipart/form-data"}),
        ("/v1/live/sessions", "POST, OPTIONS", {"accept-post": "application/json"}),
        ("/healthz", "GET, HEAD, OPTIONS", {}),
    ):
        answer = await http.options(path, headers={"Origin": "https://shop.example"})
        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["allow"] == allow
        assert {name: answer.headers[name] for name in bodies} == bodies
        assert answer.headers["access-control-allow-origin"] == "*"
    assert (await http.options("/nowhere")).status_code == 404


async def test_another_method_is_refused_with_all_that_the_path_takes(http: httpx.AsyncClient) -> None:
    refused = await http.put("/v1/realtime/calls/rtc_a")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST, PATCH, DELETE, OPTIONS")
    assert (await http.put("/v1/whip")).status_code == 405
    assert (await http.get("/v1/realtime")).headers["allow"] == "POST, OPTIONS"
