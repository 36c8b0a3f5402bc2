"""The address of the NATS server, as settings name it: checked before it is used, shown without its password.

Of the standard library only, so that a relay's settings can be read before anything else is imported.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from antiphon.schemas.errors import MalformedError

DEFAULT_NATS_URL: Final = "nats://127.0.0.1:4222"
SCHEMES: Final = ("nats", "tls", "ws", "wss")


def checked(text: str) -> str:
    """The text, if a client can connect to it: `nats://host:port`, or bare `host:port` or `host`.

    `MalformedError` names what is wrong, never user and password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a torn IPv6 literal
        usable = False
    if not usable or any(character.isspace() or character == "," for character in text):
        raise MalformedError(
            f"{without_password(text)!r:.80} is no NATS address: expected one such as {DEFAULT_NATS_URL}"
        )
    return text


def checked_list(text: str) -> tuple[str, ...]:
    """The addresses of a cluster's servers, separated by commas; `MalformedError` for one that is none."""
    return tuple(checked(each.strip()) for each in text.split(","))


def without_password(text: str) -> str:
    """What may be logged: user and password, or a token in their place, are left out."""
    scheme, slashes, rest = text.partition("://") if "://" in text else ("", "", text)
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
