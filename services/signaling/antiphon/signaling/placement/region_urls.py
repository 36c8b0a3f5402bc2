"""Where the signaling of other regions is reached, and the answer that sends a client there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from antiphon.signaling.http.errors import ApiError, as_header

VARIABLE: Final = "ANTIPHON_REGION_URLS"
MAX_REGIONS: Final = 256


def read_region_urls(text: str) -> dict[str, str]:
    """`us=https://voice-us.example.net,asia=...`: URL by region, without a slash at its end. `ValueError` otherwise."""
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        region, equals, url = (each.strip() for each in part.partition("="))
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not equals or not region or not good or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{VARIABLE} has {part!r:.120}: expected <region>=https://<host>, comma separated")
        if region in found:
            raise ValueError(f"{VARIABLE} names the region {region!r:.64} twice")
        found[region] = url.rstrip("/")
    if len(found) > MAX_REGIONS:
        raise ValueError(f"{VARIABLE} names {len(found)} regions: at most {MAX_REGIONS} are taken")
    return found


def asked_path(scope: Mapping[str, Any]) -> str:
    """Path and query of an ASGI request, as the client wrote them."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string") or b""
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def wrong_region(region: str, url: str | None, path: str, what: str, websocket: bool = False) -> ApiError:
    """307 to the same path at that region's signaling where its URL is known, else 421. Both name the region.

    `path`: of the request, with its query; `what`: what is to be done there, for people.
    """
    headers = {"Antiphon-Region": as_header(region)}
    if url is None:
        return ApiError(421, "wrong_region", f"{what} at that region's signaling", param="call_id", headers=headers)
    at = f"ws{url.removeprefix('http')}" if websocket else url
    headers["Location"] = f"{at}{path}"
    return ApiError(307, "wrong_region", f"{what} at {at}", param="call_id", headers=headers)
