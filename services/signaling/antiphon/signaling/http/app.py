"""The composition root of the HTTP application: services, routes, errors, and the middleware around all of them."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp

from antiphon.signaling.auth.credentials import Credentials
from antiphon.signaling.http import errors, health, static_files
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.forwarded import ForwardedClient
from antiphon.signaling.http.middleware import Middleware
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.protocols import client_secrets, openai_calls, side_channel
from antiphon.signaling.settings import Settings, is_loopback


def create_app(settings: Settings, backend: Backend) -> ASGIApp:
    """The whole service, as one ASGI application. The caller owns `backend`: it starts and stops it."""
    credentials = Credentials(settings.keys())
    app = FastAPI(
        title="Antiphon signaling",
        # No generated documentation pages: they load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # FastAPI's own spans would come between a caller's trace and ours, and hold addresses.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = Services(
        settings=settings,
        backend=backend,
        credentials=credentials,
        placing=asyncio.Semaphore(openai_calls.MAX_PLACING),
        side_channels=asyncio.Semaphore(side_channel.MAX_CHANNELS),
    )
    errors.install(app)
    for routes in (openai_calls, client_secrets, side_channel, health, static_files):
        app.include_router(routes.router)
    app.mount("/static", static_files.RevalidatedFiles(directory=static_files.STATIC))
    host, _ = settings.bind_address()
    checked = Middleware(
        app, guard=credentials.open, loopback_only=is_loopback(host), extra_hosts=settings.extra_hosts()
    )
    return ForwardedClient(checked, settings.proxies())
