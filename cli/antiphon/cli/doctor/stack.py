"""Checks of the running stack: NATS, the services register, the health report, the page."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx
from nats.aio.client import Client

from antiphon.cli.doctor.finding import Finding
from antiphon.cli.errors import UsageError
from antiphon.cli.up.health import ask_health
from antiphon.cli.up.running_stack import access_for, way_in
from antiphon.runtime.nats.server_url import without_password

REGISTER_NAMES: Final = ("antiphon-relay", "antiphon-transceiver", "antiphon-signaling", "antiphon-agent")


def check_nats(url: str) -> Iterator[Finding]:
    """The server, and which services are in its register."""
    if url == "none":
        yield Finding("nats", "note", "not asked (--nats none)")
        return
    yield from asyncio.run(_ask_nats(url))


async def _ask_nats(url: str) -> list[Finding]:
    import nats.errors

    from antiphon.runtime.nats.connection import connect_once
    from antiphon.runtime.nats.service_discovery import instances

    shown = without_password(url)
    fix = "Start the stack with `antiphon up`, or name the server with --nats URL (--nats none to leave this out)."
    try:
        client = await connect_once(url, "antiphon-doctor", access_for("operator", url))
    except nats.errors.AuthorizationError as error:
        return [Finding("nats", "fail", str(error), way_in("operator", url))]
    except UsageError as error:
        return [Finding("nats", "fail", str(error), "Correct the file, or unset the variable.")]
    except (OSError, TimeoutError, ValueError, nats.errors.Error) as error:
        return [Finding("nats", "fail", f"{shown} cannot be reached ({str(error) or type(error).__name__})", fix)]
    findings = [Finding("nats", "ok", f"{shown}, server {_version(client)}")]
    try:
        for name in REGISTER_NAMES:
            found = await instances(client, name)
            what = name.removeprefix("antiphon-")
            if found:
                agents = sorted({metadata["agent"] for metadata in found if "agent" in metadata})
                detail = f": {', '.join(agents)}" if agents else ""
                findings.append(Finding(what, "ok", f"{len(found)} in the services register{detail}"))
            else:
                fix = f"Start it; if it runs, its log says why it is not connected to {shown}."
                findings.append(Finding(what, "fail", "none in the services register", fix))
    finally:
        await client.close()
    return findings


def _version(client: Client) -> str:
    version = client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


def check_health(url: str) -> Iterator[Finding]:
    """What signaling's health report says, and the troubles of agents in it."""
    health = ask_health(url)
    if health.ready:
        yield Finding("health", "ok", f"{urljoin(url, '/healthz')} says that a call would succeed")
    else:
        yield Finding("health", "fail", f"{urljoin(url, '/healthz')}: {health.message}", "Start what is missing.")
    for trouble in health.troubles:
        yield Finding("agent", "fail", f"agent {trouble}", "Its log names the address, and what to do.")


def check_page(url: str) -> Iterator[Finding]:
    """The page, and whether a browser would give it the microphone (secure contexts only: W3C Secure Contexts)."""
    page = urljoin(url, "/")
    try:
        reply = httpx.get(page, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        yield Finding("page", "fail", f"{page} cannot be loaded ({error})", "Is signaling running, is the URL right?")
        return
    if reply.status_code != 200 or "text/html" not in reply.headers.get("content-type", ""):
        yield Finding("page", "fail", f"{page} answers {reply.status_code}, not a page", "Is this Antiphon's address?")
        return
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        yield Finding("page", "ok", f"{page} is served, and browsers give it the microphone")
    else:
        yield Finding(
            "page",
            "note",
            f"{page} is served, but browsers give the microphone to https pages and to localhost only",
            "Put a TLS proxy in front, or forward the port: ssh -L 8080:127.0.0.1:8080 SERVER",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
