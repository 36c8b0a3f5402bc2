"""The HTTP requests of a client: place a call, ask why it ended, hang up. Describes refusals in one line."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from antiphon.cli.errors import CallError, RefusedCallError, UsageError

log = logging.getLogger(__name__)

CALLS_PATH = "/v1/realtime/calls"
PREPARE_PATH = "/v1/realtime/prepare"


def require_url(url: str) -> None:
    """UsageError unless this is an address that HTTP can be spoken with."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--url {url}: expected an address such as http://127.0.0.1:8080")


class Placed(NamedTuple):
    """The server's answer to an offer. A value."""

    location: str
    """The call's URL."""
    sdp: str
    region: str = ""
    """Where the call is served; empty: the server has one region."""
    ingress: str = ""
    """The region of the relay by which it enters; empty likewise."""


async def place(
    http: httpx.AsyncClient,
    url: str,
    offer: str,
    agent: str | None,
    region: str | None = None,
    copy: bool | None = None,
    path: str = CALLS_PATH,
) -> Placed:
    """Place the call; CallError with what the server says when it refuses.

    `region`: where the client says it is. `copy`: it asks for a copy in a second region, or for none. `path`:
    `PREPARE_PATH` for a call that begins when the answer is used.
    """
    wishes = {"agent": agent, "region": region, "copy": None if copy is None else str(copy).lower()}
    try:
        response = await http.post(
            urljoin(url, path),
            params={name: value for name, value in wishes.items() if value},
            content=offer.encode(),
            headers={"Content-Type": "application/sdp"},
        )
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is no URL: {error}") from None
    except httpx.HTTPError as error:
        raise CallError(f"no answer from {url} ({type(error).__name__}): is the stack running?") from None
    location = response.headers.get("Location")
    if response.status_code != 201 or not location:
        text = f"{url} refused the call with status {response.status_code}: {refusal(response)}"
        wait = response.headers.get("Retry-After", "")
        raise RefusedCallError(text, response.status_code, int(wait) if wait.isdecimal() else 0)
    region, ingress = (unquote(response.headers.get(f"Antiphon-{name}", "")) for name in ("Region", "Ingress"))
    return Placed(urljoin(url, location), response.text, region, ingress)


@dataclass(frozen=True)
class Fate:
    """The server's answer to the question why a call ended. A value."""

    over: bool
    """The call has ended."""
    fault: bool
    """The call ended in another way than conversations do."""
    message: str
    """One line for people."""


async def fate(http: httpx.AsyncClient, location: str) -> Fate | None:
    """Ask the server why the call ended; None if the server does not know the call or does not answer."""
    try:
        response = await http.get(location, timeout=2)
        status = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, ValueError) as error:
        log.debug("status: %r", error)
        return None
    if not isinstance(status, dict) or not isinstance(status.get("message"), str):
        return None
    return Fate(status.get("status") == "ended", bool(status.get("fault")), " ".join(status["message"].split()))


async def hang_up(http: httpx.AsyncClient, location: str) -> None:
    """End the call; one that has ended already is no error."""
    try:
        await http.post(location + "/hangup", timeout=5)
    except httpx.HTTPError as error:
        log.debug("hang up: %r", error)


def refusal(response: httpx.Response) -> str:
    """The server's error message, or the beginning of its answer if there is none, as one line."""
    try:
        text = str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        text = response.text[:200]
    return " ".join(text.split()) or "it says nothing more"
