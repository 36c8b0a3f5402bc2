"""What a request says of its call besides the media: the agent, the session settings, and how to place it."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from starlette.requests import HTTPConnection

from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.http.client_place import call_options_of, client_place_of
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import CallOptions
from antiphon.signaling.settings import Settings

_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CallConfiguration(NamedTuple):
    """How a call is to be. A value, made for one request by its protocol."""

    agent: str
    """Takes the call."""
    session: dict[str, Any]
    """The settings for the agent; what the caller's secret fixes is in them."""
    options: CallOptions


async def configuration_of(
    connection: HTTPConnection, services: Services, caller: Caller, asked: dict[str, Any]
) -> CallConfiguration:
    """Of this request or WebSocket; `asked`: the session settings in it. `ApiError` 400 for what can't be read."""
    options = await call_options_of(connection, await client_place_of(connection, services))
    session = caller.session(asked)  # what a secret fixes, its holder can't change
    agent = await agent_of(connection, caller, session, services.settings, services.backend)
    return CallConfiguration(agent, session, options)


async def agent_of(
    connection: HTTPConnection, caller: Caller, session: dict[str, Any], settings: Settings, backend: Backend
) -> str:
    """The agent of the caller's secret, else of the URL, else of the session settings, else the default.

    A `model` is a hint only: clients of other servers name models that no agent here is called by. Where it is one, a
    secret with it fixes the agent.
    """
    fixed = caller.settings.get("model")
    if not caller.settings.get("agent") and isinstance(fixed, str) and fixed in (await backend.services()).agents:
        return fixed
    asked = caller.settings.get("agent") or connection.query_params.get("agent") or session.get("agent")
    if asked:
        if not isinstance(asked, str) or not _AGENT_NAME.fullmatch(asked):
            text = f"agent {asked!r:.80} is no agent's name: letters, digits, - and _, at most 64 of them"
            raise ApiError(400, "bad_agent", text, param="agent")
        return asked
    hint = session.get("model") or connection.query_params.get("model")
    if isinstance(hint, str) and hint and hint in (await backend.services()).agents:
        return hint
    return settings.default_agent
