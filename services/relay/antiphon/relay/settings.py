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
from antiphon.runtime.nats.hub import Hub, hub_access
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, checked
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import RouteKeyring

T = TypeVar("T")
NO_CLUSTER: Final = -1
"""`ANTIPHON_CLUSTER=none`: no transceiver is reached in one hop."""
MAX_CLUSTER: Final = 4095
MAX_INGRESS: Final = 65535
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
    hub: Hub | None
    """Where ingress numbers are claimed; None: nowhere."""
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
    cluster: int | None
    """Its transceivers are reached in one hop, all others over the backbone; None: all announced ones in one hop."""
    relay_place: tuple[float, float] | None
    """Latitude and longitude in degrees; None: unknown."""
    relay_backbone_bind: Address | None
    """Where relays of other clusters reach the first worker, the others at the next ports; None: no backbone."""
    relay_backbone_advertise: str | None
    """IP that other relays see as the source of backbone packets; None: the way to NATS decides."""
    relay_ingress: int | None
    """Its number in backbone headers; None: claimed at the hub."""
    backbone_key: str | None
    backbone_key_file: Path | None
    cluster_keys: str | None
    cluster_keys_file: Path | None

    def backbone_key_text(self) -> str:
        """One or two keys of 64 hex digits, comma separated; empty: packets have no tag. ValueError for others.

        A file that is set and holds no key is an error: it must not turn the tags off.
        """
        return _keys_text(self.backbone_key, "ANTIPHON_BACKBONE_KEY_FILE", self.backbone_key_file)

    def cluster_keys_text(self) -> str:
        """Public announcement keys as `1:<64 hex digits>,...`; empty: moves of slots are not believed."""
        return _keys_text(self.cluster_keys, "ANTIPHON_CLUSTER_KEYS_FILE", self.cluster_keys_file)

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


def _keys_text(given: str | None, name: str, file: Path | None) -> str:
    if given is not None:
        return str(given)
    if file is None:
        return ""
    try:
        text = ",".join(file.read_text().split())
    except OSError as error:
        raise ValueError(f"{name} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} {file}: is no text") from None
    if not text.strip(","):
        raise ValueError(f"{name} {file}: is empty; write a key into it, or do not set the variable")
    return text


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


def _cluster(text: str) -> int:
    if text == "none":
        return NO_CLUSTER
    try:
        return _whole(0, MAX_CLUSTER)(text)
    except ValueError:
        raise ValueError(f"{text!r} is no cluster: a whole number from 0 to {MAX_CLUSTER}, or none") from None


def _place(text: str) -> tuple[float, float]:
    latitude, comma, longitude = text.partition(",")
    if not comma:
        raise ValueError(f"{text!r} is no place: <latitude>,<longitude> in degrees, such as 50.11,8.68")
    return _number(-90, 90)(latitude.strip()), _number(-180, 180)(longitude.strip())


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


def _hub(environment: Mapping[str, str], mistakes: list[str]) -> Hub | None:
    try:
        return hub_access("relay", environment)
    except access.AccessError as error:
        mistakes.append(str(error))
        return None


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
        hub=_hub(environment, mistakes),
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
        cluster=read("CLUSTER", _cluster, None),
        relay_place=read("RELAY_PLACE", _place, None),
        relay_backbone_bind=read("RELAY_BACKBONE_BIND", _bind, None),
        relay_backbone_advertise=read("RELAY_BACKBONE_ADVERTISE", _ip, None),
        relay_ingress=read("RELAY_INGRESS", _whole(1, MAX_INGRESS), None),
        backbone_key=read("BACKBONE_KEY", _Secret, None),
        backbone_key_file=read("BACKBONE_KEY_FILE", Path, None),
        cluster_keys=read("CLUSTER_KEYS", str, None),
        cluster_keys_file=read("CLUSTER_KEYS_FILE", Path, None),
    )
    mistakes.extend(_mistakes(settings))
    if mistakes:
        raise SettingsError("; ".join(mistakes))
    return settings


def _mistakes(settings: RelaySettings) -> list[str]:
    """What single variables do not show: keys that can't be read, settings that do not go together."""
    found = []
    for name, check in (
        ("ROUTE_KEYS", lambda: RouteKeyring.from_text(settings.route_keys_text())),
        ("BACKBONE_KEY", lambda: check_backbone_key(settings.backbone_key_text())),
        ("CLUSTER_KEYS", lambda: _check_cluster_keys(settings.cluster_keys_text())),
    ):
        try:
            check()
        except ValueError as error:
            found.append(f"ANTIPHON_{name}: {error}")
    bind, advertise = settings.relay_backbone_bind, settings.relay_backbone_advertise
    if bind is None:
        found.extend(
            f"ANTIPHON_RELAY_{name}: needs ANTIPHON_RELAY_BACKBONE_BIND, such as 0.0.0.0:3500"
            for name, value in (("BACKBONE_ADVERTISE", advertise), ("INGRESS", settings.relay_ingress))
            if value is not None
        )
        return found
    workers = settings.relay_workers + (settings.relay_tcp_bind is not None)
    if bind.port and bind.port + workers > 1 << 16:
        found.append(f"ANTIPHON_RELAY_BACKBONE_BIND: {bind} leaves no port for each of {workers} workers")
    if advertise is not None and (":" in advertise) != (":" in bind.host):
        found.append(f"ANTIPHON_RELAY_BACKBONE_ADVERTISE: {advertise} is not of the family of the bound {bind.host}")
    return found


def check_backbone_key(text: str) -> None:
    """ValueError, which shows no key, unless these are backbone keys or there is none."""
    if text:
        from antiphon.schemas.backbone import BackboneKeys

        if not BackboneKeys.from_text(text).tagged:
            raise ValueError("holds no key: 64 hex digits, from `antiphon keys`")


def _check_cluster_keys(text: str) -> None:
    if text:
        from antiphon.schemas.slot_moves import ClusterKeys

        ClusterKeys.from_text(text)
