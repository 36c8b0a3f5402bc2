"""Asks signaling's `/v1/operator`, with an API key that has the scope `operator`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urljoin

import httpx
from pydantic import TypeAdapter, ValidationError

from antiphon.cli.call.call_client import refusal
from antiphon.cli.top.model import Snapshot
from antiphon.cli.top.source import MAX_CALLS, DeniedError, SourceError
from antiphon.runtime.operators.processes import Process
from antiphon.schemas.messages import MAX_LISTED, CallSummary

_CALLS: Final = TypeAdapter(list[CallSummary])
_PROCESSES: Final = TypeAdapter(list[Process])
_NAMES: Final = TypeAdapter(list[str])


class HttpSource:
    """Owner: the command, which owns `http` as well. Used on its loop."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    @property
    def name(self) -> str:
        """For people."""
        return self._url

    async def snapshot(self) -> Snapshot:
        """What runs now, in the region of this signaling."""
        calls: dict[str, CallSummary] = {}
        total, incomplete, after = 0, dict[str, None](), ""
        try:
            while len(calls) < MAX_CALLS:
                page = await self._ask(
                    "GET", "calls", {"limit": str(MAX_LISTED), **({"after": after} if after else {})}
                )
                if not calls:
                    total = int(page.get("total", 0))
                found = _CALLS.validate_python(page["data"])
                calls.update((call.session_id, call) for call in found)
                incomplete.update(dict.fromkeys(_NAMES.validate_python(page.get("incomplete", []))))
                # A page that goes back would be asked for again and again.
                if not page.get("has_more") or not found or found[-1].session_id <= after:
                    break
                after = found[-1].session_id
            processes = _PROCESSES.validate_python((await self._ask("GET", "processes"))["data"])
        except (ValidationError, LookupError, TypeError, ValueError) as error:
            raise SourceError(f"{self._url} answers with no listing of calls ({type(error).__name__})") from None
        return Snapshot(list(calls.values()), processes, max(total, len(calls)), list(incomplete), time.time())

    async def hang_up(self, session_id: str) -> str:
        """End the call."""
        await self._ask("POST", f"calls/{quote(session_id, safe='')}/hang_up")
        return f"call {session_id} has been hung up"

    async def drain(self, service: str, instance: str) -> str:
        """Have the process hand its calls over and end."""
        said = await self._ask("POST", f"processes/{quote(service, safe='')}/{quote(instance, safe='')}/drain")
        return f"{service} {instance} drains: {str(said.get('message', ''))[:200]}"

    async def _ask(self, method: str, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            response = await self._http.request(method, urljoin(self._url, f"/v1/operator/{path}"), params=params)
        except (ValueError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise DeniedError(f"--url {self._url!r} is no URL of a server: {error}") from None
        except httpx.HTTPError as error:
            text = f"no answer from {self._url} ({type(error).__name__}): is signaling running, is --url right?"
            raise SourceError(text) from None
        text = f"{self._url} says {response.status_code}: {refusal(response)}"
        if response.status_code == 401:
            raise DeniedError(f"{text}; give an API key by --api-key or ANTIPHON_API_KEY")
        if response.status_code == 403:
            raise DeniedError(f"{text}; `antiphon api-keys` makes a key with the scope operator")
        if not response.is_success:
            raise SourceError(text)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise SourceError(f"{self._url} answers with no JSON object: is this Antiphon's address?")
        return body
