"""The composition root of the HTTP application: services, routes, errors, and the middleware around all of them."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp

from antiphon.runtime.metrics import OFF, Metrics
from antiphon.signaling.auth.authentication import Authenticator
from antiphon.signaling.auth.client_secret import SecretSigner
from antiphon.signaling.auth.key_ring import KeyRing
from antiphon.signaling.calls import admission
from antiphon.signaling.console import routes as console
from antiphon.signaling.console import stream_reader
from antiphon.signaling.http import errors, health, openapi, static_files
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.forwarded import ForwardedClient
from antiphon.signaling.http.middleware import Middleware
from antiphon.signaling.http.request_meter import RequestMeter
from antiphon.signaling.http.route_methods import RouteMethods
from antiphon.signaling.limits.limits import Limits
from antiphon.signaling.operators import routes as operators
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.place_table import PlaceTable
from antiphon.signaling.protocols import (
    client_secrets,
    live_sessions,
    openai_calls,
    pipecat,
    prepared_calls,
    realtime_websocket,
    regions,
    side_channel,
    whep,
    whip,
)
from antiphon.signaling.settings import Settings, is_loopback
from antiphon.signaling.websocket_calls.service import WebSocketCalls

PROTOCOLS: Final = (
    openai_calls,
    prepared_calls,
    realtime_websocket,
    client_secrets,
    live_sessions,
    whip,
    whep,
    pipecat,
    regions,
    side_channel,
    console,
    operators,
    health,
)
"""The API: `/openapi.json` says what each route takes and answers."""
WEBSOCKETS: Final = realtime_websocket.OPERATIONS | side_channel.OPERATIONS


def create_authenticator(settings: Settings, backend: Backend) -> Authenticator:
    """The keys and the limits that the settings name; ValueError says which file or variable can't be used."""
    ring = KeyRing(settings.keys(), settings.api_keys_file)
    signer = SecretSigner(settings.secret_keys.get_secret_value(), settings.secret_key_file)
    host, _ = settings.bind_address()
    # A developer's own pages, tests and benches are not to be counted.
    limits = Limits(settings, backend, signer.pepper, on=not (ring.open and is_loopback(host)))
    return Authenticator(ring, signer, limits)


def create_app(
    settings: Settings,
    backend: Backend,
    authenticator: Authenticator | None = None,
    place_table: PlaceTable | None = None,
    websocket_calls: WebSocketCalls | None = None,
    metrics: Metrics = OFF,
) -> ASGIApp:
    """The whole service, as one ASGI application. The caller owns the others: it starts and stops them.

    `backend` is not started yet. `authenticator` None: one is made of the settings.
    """
    authenticator = authenticator or create_authenticator(settings, backend)
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
        authenticator=authenticator,
        limits=authenticator.limits,
        placing=asyncio.Semaphore(admission.MAX_PLACING),
        preparing=asyncio.Semaphore(admission.MAX_PREPARING),
        side_channels=asyncio.Semaphore(side_channel.MAX_CHANNELS),
        operator_pages=asyncio.Semaphore(stream_reader.MAX_READING),
        place_table=place_table,
        websocket_calls=websocket_calls,
        metrics=metrics,
    )
    described = [module.router for module in PROTOCOLS]
    app.state.api_document = openapi.document(described, WEBSOCKETS)
    routers = [*described, openapi.router, static_files.router, console.page_router]
    app.state.methods = methods = RouteMethods(routers)
    errors.install(app)
    for router in routers:
        app.include_router(router)
    app.mount("/static", static_files.RevalidatedFiles(directory=static_files.STATIC))
    host, _ = settings.bind_address()
    checked = Middleware(
        app,
        guard=authenticator.ring.open,
        loopback_only=is_loopback(host),
        extra_hosts=settings.extra_hosts(),
        methods=methods,
    )
    measured = RequestMeter(checked, metrics) if metrics.on else checked
    return ForwardedClient(measured, settings.proxies(), settings.headers_of_place())
