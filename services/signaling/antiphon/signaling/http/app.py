"""The HTTP application, put together: routes, errors, the page, and the edge around all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from antiphon.signaling.auth.credentials import Credentials
from antiphon.signaling.http import errors, health
from antiphon.signaling.http.middleware import Middleware
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.protocols import openai_calls, side_channel
from antiphon.signaling.settings import Settings, is_loopback

STATIC: Final = Path(__file__).parent / "static"
_REVALIDATE: Final = {"Cache-Control": "no-cache"}


class _Static(StaticFiles):
    """The page's files: always revalidated, so that an upgrade never mixes an old script with a new page."""

    def file_response(self, *args: object, **kwargs: object) -> FileResponse:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_REVALIDATE)
        return response  # type: ignore[return-value]


def create_app(settings: Settings, stack: Backend) -> ASGIApp:
    """The whole service, as one ASGI application."""
    credentials = Credentials(settings.keys())
    app = FastAPI(
        title="Antiphon signaling",
        # No generated documentation pages: they load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # Its own spans would stand between a caller's trace and ours, and hold addresses.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    errors.install(app)
    app.include_router(openai_calls.routes(settings, stack, credentials))
    app.include_router(side_channel.routes(stack, credentials))
    app.include_router(health.routes(settings, stack))
    app.mount("/static", _Static(directory=STATIC))

    @app.api_route("/", methods=["GET", "HEAD"])
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_REVALIDATE)

    host, _ = settings.bind_address()
    return Middleware(app, guard=credentials.open, loopback_only=is_loopback(host), extra_hosts=settings.extra_hosts())
