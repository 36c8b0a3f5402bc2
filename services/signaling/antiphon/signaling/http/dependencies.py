"""What FastAPI hands to the handlers: the settings, the NATS backend, the credentials, the caller of a request.

`create_app` makes one `Services` and keeps it in `app.state`. A handler names what it needs in its signature, so a
test can call it with values of its own. The functions are coroutines because FastAPI runs plain ones in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from antiphon.signaling.auth.authentication import Caller, caller_of
from antiphon.signaling.auth.credentials import Credentials
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.settings import Settings


@dataclass(frozen=True)
class Services:
    """What all handlers share.

    Made by `create_app` and kept as long as the application. Handlers read it on the event loop.
    """

    settings: Settings
    backend: Backend
    credentials: Credentials
    placing: asyncio.Semaphore
    """Free places for offers that are being placed. A handler refuses when there is none; it does not wait."""
    side_channels: asyncio.Semaphore
    """Free places for side channels, likewise."""


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


async def credentials_of(services: ServicesDep) -> Credentials:
    """The API keys of the deployment."""
    return services.credentials


SettingsDep = Annotated[Settings, Depends(settings_of)]
BackendDep = Annotated[Backend, Depends(backend_of)]
CredentialsDep = Annotated[Credentials, Depends(credentials_of)]


async def authenticated(request: Request, credentials: CredentialsDep) -> Caller:
    """The caller that the Authorization header names, or `ApiError` 401."""
    return caller_of(request, credentials)


CallerDep = Annotated[Caller, Depends(authenticated)]
