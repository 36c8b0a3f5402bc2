"""Request bodies: read within a limit of size and time, and parsed into an offer or a JSON object.

The limit holds while reading, because a Content-Length may be missing or wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any, Final, NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from antiphon.signaling.http.errors import ApiError

MAX_SDP_BYTES: Final = 64 * 1024
MAX_JSON_BYTES: Final = 64 * 1024
MAX_MULTIPART_BYTES: Final = MAX_SDP_BYTES + MAX_JSON_BYTES + 4096
MAX_DEPTH: Final = 32
"""Levels of a JSON body. Tool definitions, which nest JSON Schema, stay well below."""
READ_TIMEOUT: Final = 10.0
"""Seconds for a whole body."""
_DISCARD_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a body above its limit that are still read and thrown away. A client whose connection is cut while it sends
does not read the answer with the reason."""


class OfferBody(NamedTuple):
    """The body of an offer: `POST /v1/realtime/calls`, with or without a call's name."""

    sdp: str
    session: dict[str, Any]


async def read(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes; `ApiError` 413 or 408."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit and "expect" in request.headers:
        raise _too_long(limit)  # the client asked before it sent: no need to take anything
    body = bytearray()
    seen = 0
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            async for chunk in request.stream():
                seen += len(chunk)
                if seen <= limit:
                    body += chunk
                elif seen > _DISCARD_BYTES:
                    break
    except TimeoutError:
        raise ApiError(408, "too_slow", f"the body did not arrive within {READ_TIMEOUT:.0f} s") from None
    except ClientDisconnect:
        raise ApiError(400, "client_gone", "the client went away while it sent its body") from None
    if seen > limit:
        raise _too_long(limit)
    return bytes(body)


def content_type_of(request: Request) -> str:
    """The media type of the body without its parameters, in lower case; empty: the request does not say."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_text(request: Request, limit: int) -> str:
    """An SDP offer that is the whole body; `ApiError` 400, 408 or 413."""
    return _text(await read(request, limit))


async def read_offer(request: Request) -> OfferBody:
    """The SDP and the session settings of either form; `ApiError` 400, 413 or 415."""
    kind = content_type_of(request)
    if kind == "application/sdp":
        return OfferBody(await read_text(request, MAX_SDP_BYTES), {})
    if kind == "multipart/form-data":
        return await _read_multipart(request)
    raise ApiError(
        415,
        "unsupported_media_type",
        f"Content-Type {kind or 'missing'!r:.80}: send the SDP offer as application/sdp, "
        "or as multipart/form-data with parts sdp and session",
        headers={"Accept": "application/sdp, multipart/form-data"},
    )


async def read_json(
    request: Request, limit: int = MAX_JSON_BYTES, kinds: Collection[str] = ("application/json",)
) -> dict[str, Any]:
    """A JSON object, or an empty one for an empty body; `ApiError` 400, 413 or 415. `kinds`: of the Content-Type."""
    data = await read(request, limit)
    if not data:
        return {}
    kind = content_type_of(request)
    if kind not in kinds:
        raise ApiError(415, "unsupported_media_type", f"Content-Type {kind or 'missing'!r:.80}: send application/json")
    return json_object(data, "body")


async def _read_multipart(request: Request) -> OfferBody:
    body = await read(request, MAX_MULTIPART_BYTES)

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = MultiPartParser(request.headers, once(), max_files=2, max_fields=8, max_part_size=MAX_MULTIPART_BYTES)
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        text = getattr(error, "message", None) or "the body does not match its Content-Type"
        raise ApiError(400, "bad_multipart", f"the multipart body can't be read: {text}") from None
    parts: dict[str, bytes] = {}
    try:
        for name, part in form.multi_items():
            parts[name] = await part.read() if isinstance(part, UploadFile) else part.encode()
    finally:
        await form.close()
    if "sdp" not in parts:
        raise ApiError(400, "missing_sdp", "the multipart body has no part named sdp", param="sdp")
    if len(parts["sdp"]) > MAX_SDP_BYTES:
        raise _too_long(MAX_SDP_BYTES)
    session = json_object(parts["session"], "session") if parts.get("session") else {}
    return OfferBody(_text(parts["sdp"]), session)


def _too_long(limit: int) -> ApiError:
    return ApiError(413, "body_too_large", f"the body is longer than {limit} bytes, which is all that is read")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_offer", "the SDP offer is no UTF-8 text", param="sdp") from None


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in these bytes; `ApiError` 400 that calls it `name`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ApiError(400, "bad_json", f"{name} is no valid JSON", param=name) from None
    if not isinstance(value, dict):
        raise ApiError(400, "bad_json", f"{name} has to be a JSON object, not {type(value).__name__}", param=name)
    if not _can_be_passed_on(value):
        text = f"{name} holds what not every reader takes: NaN, Infinity, half a character, or over {MAX_DEPTH} levels"
        raise ApiError(400, "bad_json", text, param=name)
    return value


def _can_be_passed_on(value: object) -> bool:
    """Whether this is strict JSON (RFC 8259, in UTF-8), of at most `MAX_DEPTH` levels.

    Python's reader accepts more than that, and the writer that passes the value on would fail.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return True
    return False


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
