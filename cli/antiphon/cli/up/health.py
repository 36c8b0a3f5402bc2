"""Asks a stack's `/healthz`: would a call succeed, and if not, why not."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urljoin


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# Without a proxy, whatever the environment names.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
_open_own = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_unverified())
).open
"""For a server that this machine runs itself, asked by an address that its certificate does not name."""


class Health(NamedTuple):
    """One answer of `/healthz`. A value."""

    ready: bool
    """/healthz is 200: a call would succeed."""
    message: str
    """What is missing, when not ready."""
    troubles: tuple[str, ...] = ()
    """`agent: why`, of agents that take calls and could not serve them."""


def ask_health(url: str, timeout: float = 3.0, *, own: bool = False) -> Health:
    """One request; every failure is an answer too. `own`: the server is ours, and its certificate may be any."""
    try:
        with (_open_own if own else _open)(urljoin(url, "/healthz"), timeout=timeout) as reply:
            body = reply.read(65536)
            return Health(reply.status == 200, f"/healthz says {reply.status}", _troubles(body))
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(65536)
            return Health(False, _missing(body) or f"/healthz says {error.code}", _troubles(body))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        return Health(False, f"signaling does not answer ({text})")


def _troubles(body: bytes) -> tuple[str, ...]:
    """What `troubles` says of each agent."""
    try:
        return tuple(f"{agent}: {trouble}" for agent, trouble in json.loads(body).get("troubles", {}).items())
    except (ValueError, AttributeError):
        return ()


def _missing(body: bytes) -> str:
    """What the body of a 503 names: `failing` says of each part what is wrong with it."""
    try:
        failing = json.loads(body)["failing"]
        return "; ".join(f"{part}: {reason}" for part, reason in failing.items())
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
