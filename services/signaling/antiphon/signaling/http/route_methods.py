"""Which methods a path takes, and which bodies: for `Allow`, `Accept-Post` and `Accept-Patch`.

Several routes may stand at one path, and the framework's own `Allow` names the methods of one of them only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute

_ORDER: Final = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
_ACCEPTED: Final = {"POST": "Accept-Post", "PATCH": "Accept-Patch"}


class RouteMethods:
    """Made by `create_app` of its routers and never changed; read on the event loop."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    def headers(self, path: str) -> dict[str, str]:
        """What an answer to OPTIONS says of this path; empty where nothing is served."""
        matching = [route for route in self._routes if route.path_regex.match(path)]
        methods = {method for route in matching for method in route.methods or ()}
        if not methods:
            return {}
        said = {"Allow": ", ".join([*(each for each in _ORDER if each in methods), "OPTIONS"])}
        for method, header in _ACCEPTED.items():
            bodies = dict.fromkeys(
                media_type
                for route in matching
                if method in (route.methods or ())
                for media_type in (route.openapi_extra or {}).get("requestBody", {}).get("content", ())
            )
            if bodies:
                said[header] = ", ".join(bodies)
        return said
