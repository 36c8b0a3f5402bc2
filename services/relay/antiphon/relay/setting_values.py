"""Single values of the relay's settings: from a variable's text to a value, or a ValueError that says what it takes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final, TypeVar

from antiphon.schemas.addresses import Address, parse_address

T = TypeVar("T")
NO_CLUSTER: Final = -1
"""`ANTIPHON_CLUSTER=none`: no transceiver is reached in one hop."""
MAX_CLUSTER: Final = 4095
MAX_INGRESS: Final = 65535
PATHS: Final = ("auto", "batched", "portable")


class Secret(str):
    """Text that no log and no traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'"


def bind(text: str) -> Address:
    """As `parse_address`, but port 0 is allowed: the system picks one."""
    host, colon, port = text.rpartition(":")
    if colon and port == "0":
        return parse_address(f"{host}:1")._replace(port=0)
    return parse_address(text)


def parts(read: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Values separated by commas."""
    return lambda text: [read(part.strip()) for part in text.split(",") if part.strip()]


def binds(text: str) -> list[Address]:
    """One address per family."""
    found = parts(bind)(text)
    families = [":" in address.host for address in found]
    if not families or len(families) != len(set(families)):
        raise ValueError(
            "takes one IPv4 and one IPv6 address at most, such as 0.0.0.0:3478,[::]:3478 "
            "(answers must leave by the address that was asked)"
        )
    return found


def number(least: float, most: float) -> Callable[[str], float]:
    """A number in this range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            raise ValueError(f"{text} is out of range: it is a number from {least:g} to {most:g}")
        return value

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in this range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def flag(text: str) -> bool:
    """1 or 0."""
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 1 (on) nor 0 (off)")
    return text == "1"


def path(text: str) -> str:
    """A packet loop."""
    if text not in PATHS:
        raise ValueError(f"{text!r} is not 'auto', 'batched' or 'portable'")
    return text


def find(text: str) -> str:
    """Where owners are looked up."""
    if text not in ("ask", "kv"):
        raise ValueError(f"{text!r} is neither 'ask' (the transceivers) nor 'kv' (the bucket antiphon-flows)")
    return text


def name(text: str) -> str:
    """A name that a subject can hold."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(f"{text!r:.80} may hold letters, digits, - and _ only, at most 64 of them")
    return text


def region(text: str) -> str:
    """A region's name."""
    if len(text) > 64:
        raise ValueError(f"{text!r:.20}... is longer than 64 characters")
    return text


def cluster(text: str) -> int:
    """A cluster's number, or `NO_CLUSTER` for none."""
    if text == "none":
        return NO_CLUSTER
    try:
        return whole(0, MAX_CLUSTER)(text)
    except ValueError:
        raise ValueError(f"{text!r} is no cluster: a whole number from 0 to {MAX_CLUSTER}, or none") from None


def place(text: str) -> tuple[float, float]:
    """Latitude and longitude in degrees."""
    latitude, comma, longitude = text.partition(",")
    if not comma:
        raise ValueError(f"{text!r} is no place: <latitude>,<longitude> in degrees, such as 50.11,8.68")
    return number(-90, 90)(latitude.strip()), number(-180, 180)(longitude.strip())


def ip(text: str) -> str:
    """An IP address."""
    return str(ipaddress.ip_address(text))
