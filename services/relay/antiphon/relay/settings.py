"""The relay's settings, from `ANTIPHON_*` variables; docs/relay.md has them as a table.

Read without pydantic-settings, because a killed relay forwards nothing until this is imported and its workers have
started. Median CPU time beyond an empty interpreter, 9 runs each, two-core x86-64 VM, CPython 3.11:

    python -c 'import pydantic_settings; from pydantic import BaseModel, Field'     178 ms
    python -c 'import antiphon.relay.settings'                                       41 ms
    python -c 'import antiphon.relay.dataplane.worker'                               65 ms
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from antiphon.runtime.nats import access
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, checked
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import RouteKeyring

T = TypeVar("T")
PATHS: Final = ("auto", "batched", "portable")
MAX_WORKERS: Final = 64


class SettingsError(ValueError):
    """A setting can't be used; the text names the variable, what is wrong and the way out."""


class _Secret(str):
    """Text that no log and no traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'...'"


class RelaySettings(NamedTuple):
    """A relay's settings; read once at the start by `load`, never changed."""

    nats_url: str
    nats_access: access.Access
    """Who we are for NATS: the credential, TLS."""
    relay_name: str
    relay_region: str
    relay_bind: list[Address]
    """Where clients reach it: at most one address per family."""
    relay_public_addresses: list[Address]
    """The addresses in answers to clients; empty: the bound ones, with loopback for a wildcard."""
    relay_tunnel_bind: Address
    relay_tunnel_advertise: str | None
    """IP that transceivers see as the source of tunnel packets; None: the way to NATS decides."""
    relay_max_flows: int
    """Per worker."""
    relay_path: str
    relay_workers: int
    relay_new_flows: int
    """New flows per second of one source network; 0 is no limit."""
    relay_flow_packets_per_second: int
    """What one caller may send in the long run; 0 is no limit."""
    relay_flow_burst: int
    """Packets that it may send at once after a pause."""
    relay_learn: bool
    """Learn flows from owners' packets; without it only binding requests make them."""
    relay_find: str
    """Where an unknown client's owner is looked up: `ask` the transceivers, or `kv`, the bucket of flows."""
    relay_drain_seconds: float
    """How long the relay forwards after SIGTERM, at most."""
    relay_state_file: Path | None
    """Where routes and tunnel ports are kept for the next start; None: nowhere."""
    relay_http_bind: Address | None
    """Metrics and health; None: none."""
    relay_tcp_bind: Address | None
    """ICE-TCP; None: not offered."""
    relay_tcp_public_addresses: list[Address]
    route_keys: str | None
    route_keys_file: Path | None

    def route_keys_text(self) -> str:
        """The keys as `A:<32 hex digits>[,B:...]`, from the variable or the file; ValueError if there are none."""
        if self.route_keys is not None:
            return str(self.route_keys)
        if self.route_keys_file is None:
            raise ValueError("is not set; give A:<32 hex digits> here, or a file with it in ANTIPHON_ROUTE_KEYS_FILE")
        try:
            return ",".join(self.route_keys_file.read_text().split())
        except OSError as error:
            raise ValueError(f"ANTIPHON_ROUTE_KEYS_FILE {self.route_keys_file}: {error.strerror}") from None


def _bind(text: str) -> Address:
    """As `parse_address`, but port 0 is allowed: the system picks one."""
    host, colon, port = text.rpartition(":")
    if colon and port == "0":
        return parse_address(f"{host}:1")._replace(port=0)
    return parse_address(text)


def _parts(read: Callable[[str], T]) -> Callable[[str], list[T]]:
    return lambda text: [read(part.strip()) for part in text.split(",") if part.strip()]


def _binds(text: str) -> list[Address]:
    binds = _parts(_bind)(text)
    families = [":" in address.host for address in binds]
    if not families or len(families) != len(set(families)):
        raise ValueError(
            "takes one IPv4 and one IPv6 address at most, such as 0.0.0.0:3478,[::]:3478 "
            "(answers must leave by the address that was asked)"
        )
    return binds


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            raise ValueError(f"{text} is out of range: it is a number from {least:g} to {most:g}")
        return value

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 1 (on) nor 0 (off)")
    return text == "1"


def _path(text: str) -> str:
    if text not in PATHS:
        raise ValueError(f"{text!r} is not 'auto', 'batched' or 'portable'")
    return text


def _find(text: str) -> str:
    if text not in ("ask", "kv"):
        raise ValueError(f"{text!r} is neither 'ask' (the transceivers) nor 'kv' (the bucket antiphon-flows)")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(f"{text!r:.80} may hold letters, digits, - and _ only, at most 64 of them")
    return text


def _region(text: str) -> str:
    if len(text) > 64:
        raise ValueError(f"{text!r:.20}... is longer than 64 characters")
    return text


def _ip(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "relay"


def _cores() -> int:
    """Cores this process may run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


def _nats_access(environment: Mapping[str, str], mistakes: list[str]) -> access.Access:
    try:
        return access.from_environment("relay", environment=environment)
    except access.AccessError as error:
        mistakes.append(str(error))
        return access.OPEN


def load(environment: Mapping[str, str] = os.environ) -> RelaySettings:
    """Read the environment; `SettingsError` with every mistake in one line."""
    mistakes: list[str] = []

    def read(name: str, reader: Callable[[str], T], default: T) -> T:
        text = environment.get(f"ANTIPHON_{name}", "").strip()
        try:
            return reader(text) if text else default
        except (ValueError, MalformedError) as error:
            mistakes.append(f"ANTIPHON_{name}: {error}")
            return default

    nowhere: list[Address] = []
    settings = RelaySettings(
        nats_url=read("NATS_URL", checked, DEFAULT_NATS_URL),
        nats_access=_nats_access(environment, mistakes),
        relay_name=read("RELAY_NAME", _name, _host_name()),
        relay_region=read("RELAY_REGION", _region, "local"),
        relay_bind=read("RELAY_BIND", _binds, [Address("0.0.0.0", 3478)]),
        relay_public_addresses=read("RELAY_PUBLIC_ADDRESSES", _parts(parse_address), nowhere),
        relay_tunnel_bind=read("RELAY_TUNNEL_BIND", _bind, Address("0.0.0.0", 0)),
        relay_tunnel_advertise=read("RELAY_TUNNEL_ADVERTISE", _ip, None),
        relay_max_flows=read("RELAY_MAX_FLOWS", _whole(1, 4_000_000), 100_000),
        relay_path=read("RELAY_PATH", _path, "auto"),
        relay_workers=read("RELAY_WORKERS", _whole(1, MAX_WORKERS), _cores()),
        relay_new_flows=read("RELAY_NEW_FLOWS", _whole(0, 1_000_000), 100),
        relay_flow_packets_per_second=read("RELAY_FLOW_PACKETS_PER_SECOND", _whole(0, 1_000_000), 500),
        relay_flow_burst=read("RELAY_FLOW_BURST", _whole(1, 1_000_000), 250),
        relay_learn=read("RELAY_LEARN", _flag, True),
        relay_find=read("RELAY_FIND", _find, "ask"),
        relay_drain_seconds=read("RELAY_DRAIN_SECONDS", _number(0, 3600), 1.0),
        relay_state_file=read("RELAY_STATE_FILE", Path, None),
        relay_http_bind=read("RELAY_HTTP_BIND", _bind, None),
        relay_tcp_bind=read("RELAY_TCP_BIND", _bind, None),
        relay_tcp_public_addresses=read("RELAY_TCP_PUBLIC_ADDRESSES", _parts(parse_address), nowhere),
        route_keys=read("ROUTE_KEYS", _Secret, None),
        route_keys_file=read("ROUTE_KEYS_FILE", Path, None),
    )
    try:
        RouteKeyring.from_text(settings.route_keys_text())
    except ValueError as error:
        mistakes.append(f"ANTIPHON_ROUTE_KEYS: {error}")
    if mistakes:
        raise SettingsError("; ".join(mistakes))
    return settings
