"""`/openapi.json`, put together from what the routes say of themselves, and `/docs`, a page of ours that shows it.

The page loads nothing from elsewhere: the Content-Security-Policy of all pages allows this origin only.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute

from antiphon.signaling.http.api_description import Json, components
from antiphon.signaling.http.static_files import REVALIDATE, STATIC

_ABOUT: Final = (
    "Calls with voice agents. A client sends an SDP offer and gets an answer; media and events then go over WebRTC. "
    "Errors are JSON: `{error: {message, type, code, param}}`. Paths marked WebSocket are opened by an upgrade. "
    "Any origin may call (CORS) where keys are set; without keys only this server's own pages."
)

router = APIRouter()


def document(routers: Iterable[APIRouter], websockets: Mapping[str, Json]) -> Json:
    """The OpenAPI document of these routes. Those without a description are left out.

    `websockets`: the operations of WebSockets, which OpenAPI describes as GET, by path.
    """
    paths: dict[str, Json] = {}
    for router_ in routers:
        for route in router_.routes:
            if isinstance(route, APIRoute) and route.openapi_extra:
                for method in sorted(route.methods or ()):
                    paths.setdefault(route.path, {})[method.lower()] = _operation(route, method)
    for path, said in websockets.items():
        paths.setdefault(path, {})["get"] = {"operationId": _name(f"attach {path}"), **said}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Antiphon", "version": _version(), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": components(),
    }


def _operation(route: APIRoute, method: str) -> Json:
    said = {"operationId": _name(f"{method} {route.path}"), **(route.openapi_extra or {})}
    if method == "HEAD":  # the same without a body (RFC 9110 section 9.3.2)
        answers = said["responses"].items()
        said["responses"] = {
            status: answer if "$ref" in answer else {k: v for k, v in answer.items() if k != "content"}
            for status, answer in answers
        }
    return said


def _name(text: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    return "_".join(words)


def _version() -> str:
    try:
        return importlib.metadata.version("antiphon")
    except importlib.metadata.PackageNotFoundError:
        return "0"


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi_json(request: Request) -> JSONResponse:
    """The document. No key is asked for: it says nothing of this deployment but its release."""
    return JSONResponse(request.app.state.api_document, headers=REVALIDATE)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> FileResponse:
    """The document for people."""
    return FileResponse(STATIC / "api.html", headers=REVALIDATE)
