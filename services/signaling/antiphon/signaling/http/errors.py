"""Every error that a client sees: one JSON shape, the one OpenAI's clients read, with the right status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from antiphon.signaling.http.route_methods import RouteMethods

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_PLAIN = {
    404: ("not_found", "nothing is served at {method} {path}: calls are made at POST /v1/realtime/calls"),
    405: ("method_not_allowed", "{path} does not take {method}: see the Allow header for what it takes"),
}


DEFAULT_RETRY: Final = 2
"""Seconds after which another try may make sense, where nothing better is known."""


class ApiError(Exception):
    """An HTTP answer other than the one that the request asked for.

    Raised by handlers, dependencies and what they call; `install` makes a response of it. `message` names the thing,
    the value and the way out; `code` is for programs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The error as OpenAI's clients read it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        content = {"error": {"message": str(self), "type": kind, "code": self.code, "param": self.param}}
        return JSONResponse(content, self.status, headers={"Cache-Control": "no-store", **self.headers})


def unavailable(code: str, message: str, retry_after: int = DEFAULT_RETRY) -> ApiError:
    """503 with the number of seconds after which another try makes sense."""
    return ApiError(503, code, message, headers={"Retry-After": str(retry_after)})


def too_many(what: str, wait: float, code: str = "rate_limit_exceeded") -> ApiError:
    """429 with the number of seconds after which another try makes sense."""
    seconds = max(1, math.ceil(wait))
    return ApiError(429, code, f"{what}: try again in {seconds} s", headers={"Retry-After": str(seconds)})


def internal() -> ApiError:
    """500 without any detail: the log has the traceback."""
    return ApiError(500, "internal_error", "signaling failed on this request; its log says why")


def as_header(name: str) -> str:
    """A region's name, which its operator may write in any script, in the ASCII of header fields (RFC 9110)."""
    return quote(name, safe=" !#$&'()*+,/:;=?@[]~")


def install(app: FastAPI) -> None:
    """Give what the framework raises the same shape. `app.state.methods` is the `RouteMethods` of its routes."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error.response()


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code, text, headers = "http_error", str(error.detail), dict(error.headers or {})
    if error.status_code in _PLAIN:
        code, form = _PLAIN[error.status_code]
        text = form.format(method=request.method, path=request.url.path[:200])
    if error.status_code == 405:
        methods: RouteMethods = request.app.state.methods
        headers |= {name: value for name, value in methods.headers(request.url.path).items() if name == "Allow"}
    return ApiError(error.status_code, code, text, headers=headers).response()


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or None
    return ApiError(422, "invalid_value", f"{where or 'request'}: {first['msg']}", param=where).response()
