"""Where the client of a request is: its own hint, a trusted proxy's word, the address table, or unknown.

Nothing here is a secret of ours or a right of the caller's: whoever forges a place is served from there.
"""

from __future__ import annotations

import time
from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Depends
from starlette.requests import HTTPConnection

from antiphon.signaling.http.dependencies import Services, ServicesDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.forwarded import proxy_place
from antiphon.signaling.placement.geography import coordinates_in
from antiphon.signaling.placement.placement import CallOptions
from antiphon.signaling.placement.ranking import ClientPlace, Site
from antiphon.signaling.placement.region_map import RegionMap

_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


async def client_place_of(connection: HTTPConnection, services: ServicesDep) -> ClientPlace:
    """Where the client of a request or WebSocket is taken to be; `ApiError` 400 for a hint that can't be read."""
    regions = services.backend.directory.region_map(time.monotonic())
    return (
        _hinted(connection, services, regions)
        or _told(connection, services)
        or services.backend.directory.unknown_place(regions)
    )


ClientPlaceDep = Annotated[ClientPlace, Depends(client_place_of)]


async def call_options_of(connection: HTTPConnection, place: ClientPlaceDep) -> CallOptions:
    """How its call is to be placed; `ApiError` 400 for a wish that can't be read."""
    return CallOptions(place, _wish(connection, "race") or False, _wish(connection, "copy"))


CallOptionsDep = Annotated[CallOptions, Depends(call_options_of)]


def _asked(connection: HTTPConnection, name: str) -> str | None:
    """The query parameter, or the header that stands for it where a client can't change the URL. Empty: not asked."""
    value = connection.query_params.get(name)
    return (unquote(connection.headers.get(f"antiphon-{name}", "")) if value is None else value) or None


def _wish(connection: HTTPConnection, name: str) -> bool | None:
    text = _asked(connection, name)
    if text is None:
        return None
    if text.lower() not in _BOOLEANS:
        raise ApiError(400, "invalid_value", f"{name} {text!r:.80} is neither true nor false", param=name)
    return _BOOLEANS[text.lower()]


def _hinted(connection: HTTPConnection, services: Services, regions: RegionMap) -> ClientPlace | None:
    """A region's name says more than coordinates: it wins where both are there."""
    region, place = _asked(connection, "region"), _asked(connection, "place")
    if region is not None:
        if region not in regions.names:
            services.backend.connection("the regions are not known")
            known = ", ".join(regions.names) or "none is announced"
            raise ApiError(400, "unknown_region", f"region {region!r:.80} is none of ours: {known}", param="region")
        return ClientPlace("hint", regions.site(region))
    if place is not None:
        coordinates = coordinates_in(place)
        if coordinates is None:
            text = f"place {place!r:.80} is no place: <latitude>,<longitude> in degrees, such as 50.11,8.68"
            raise ApiError(400, "bad_place", text, param="place")
        return ClientPlace("hint", Site(coordinates=coordinates))
    return None


def _told(connection: HTTPConnection, services: Services) -> ClientPlace | None:
    if (coordinates := proxy_place(connection)) is not None:
        return ClientPlace("header", Site(coordinates=coordinates))
    if services.place_table is None or connection.client is None:
        return None
    coordinates = services.place_table.find(connection.client.host)
    return None if coordinates is None else ClientPlace("table", Site(coordinates=coordinates))
