"""What FastAPI hands to the handlers: the settings, the NATS backend, the keys, the limits, the caller of a request.

`create_app` makes one `Services` and keeps it in `app.state`. A handler names what it needs in its signature, so a
test can call it with values of its own. The functions are coroutines because FastAPI runs plain ones in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from antiphon.runtime.metrics import OFF, Metrics
from antiphon.signaling.auth.authentication import Authenticator, Caller
from antiphon.signaling.calls.call_spans import CallSpans
from antiphon.signaling.limits.limits import Limits
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.place_table import PlaceTable
from antiphon.signaling.settings import Settings
from antiphon.signaling.websocket_calls.service import WebSocketCalls


@dataclass(frozen=True)
class Services:
    """What all handlers share.

    Made by `create_app` and kept as long as the application. Handlers read it on the event loop.
    """

    settings: Settings
    backend: Backend
    authenticator: Authenticator
    limits: Limits
    placing: asyncio.Semaphore
    """Free places for offers that are being placed. A handler refuses when there is none; it does not wait."""
    preparing: asyncio.Semaphore
    """Likewise for those that are being prepared."""
    side_channels: asyncio.Semaphore
    """Free places for side channels, likewise."""
    operator_pages: asyncio.Semaphore
    """Free places for pages of streams that operators read, likewise."""
    place_table: PlaceTable | None = None
    """Where addresses are; None: no table is set."""
    websocket_calls: WebSocketCalls | None = None
    """None: no calls over WebSocket are taken."""
    metrics: Metrics = OFF
    call_spans: CallSpans = field(default_factory=CallSpans)


async def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that serves this request or WebSocket."""
    services: Services = connection.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]


async def settings_of(services: ServicesDep) -> Settings:
    """The settings of the process."""
    return services.settings


async def backend_of(services: ServicesDep) -> Backend:
    """The NATS side of the process."""
    return services.backend


async def authenticator_of(services: ServicesDep) -> Authenticator:
    """The API keys and secret keys of the deployment."""
    return services.authenticator


async def limits_of(services: ServicesDep) -> Limits:
    """The limits of the service."""
    return services.limits


SettingsDep = Annotated[Settings, Depends(settings_of)]
BackendDep = Annotated[Backend, Depends(backend_of)]
AuthenticatorDep = Annotated[Authenticator, Depends(authenticator_of)]
LimitsDep = Annotated[Limits, Depends(limits_of)]


async def authenticated(request: Request, authenticator: AuthenticatorDep) -> Caller:
    """The caller that the Authorization header names, or `ApiError` 401."""
    return authenticator.caller_of(request)


CallerDep = Annotated[Caller, Depends(authenticated)]
