"""The NATS connection of a command: made within seconds, or an error says why not. Services wait longer than people."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError

from antiphon.cli.errors import CallError, UsageError
from antiphon.cli.up import running_stack
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.server_url import checked, without_password
from antiphon.schemas import MalformedError

CONNECT_SECONDS: Final = 5.0


@asynccontextmanager
async def on_the_bus(url: str, name: str, role: str, access: Access | None = None) -> AsyncIterator[Client]:
    """A connection for this block, which reconnects when it is lost; `UsageError` or `CallError` without a server.

    `access` None: what the variables say for this role, or a stack that runs here.
    """
    try:
        checked(url)
    except MalformedError as error:
        raise UsageError(f"--nats: {error}") from None
    access = running_stack.access_for(role, url) if access is None else access
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            # The first attempt's error is the answer for people; `connect` would go on trying.
            await (await connection.connect_once(url, name, access)).close()
            client = await connection.connect(url, name, access)
    except AuthorizationError as error:
        raise CallError(str(error) if access.credentials else running_stack.way_in(role, url)) from None
    except (OSError, TimeoutError, NatsError) as error:
        reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
        raise CallError(
            f"NATS at {without_password(url)} cannot be reached ({reason}): is the stack running, is --nats right?"
        ) from None
    try:
        yield client
    except connection.RefusedError as error:
        raise CallError(f"{error}: this command wants the credential of the role {role}") from None
    finally:
        with contextlib.suppress(NatsError):
            await client.close()
