"""The relay's settings, from `ANTIPHON_*` variables; docs/relay.md has them as a table.

Read without pydantic-settings, because a killed relay forwards nothing until this is imported and its workers have
started. Median CPU time beyond an empty interpreter, 9 runs each, two-core x86-64 VM, CPython 3.11:

    python -c 'import pydantic_settings; from pydantic import BaseModel, Field'     178 ms
    python -c 'import antiphon.relay.settings'                                       41 ms
    python -c 'import antiphon.relay.dataplane.worker'                               65 ms
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from antiphon.relay import setting_values as values
from antiphon.relay.setting_values import MAX_INGRESS
from antiphon.relay.setting_values import NO_CLUSTER as NO_CLUSTER
from antiphon.runtime.nats import access
from antiphon.runtime.nats.hub import Hub, hub_access
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, checked
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError
from antiphon.schemas.route_token import RouteKeyring

T = TypeVar("T")
MAX_WORKERS: Final = 64


class SettingsError(ValueError):
    """A setting can't be used; the text names the variable, what is wrong and the way out."""


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
        relay_name=read("RELAY_NAME", values.name, _host_name()),
        relay_region=read("RELAY_REGION", values.region, "local"),
        relay_bind=read("RELAY_BIND", values.binds, [Address("0.0.0.0", 3478)]),
        relay_public_addresses=read("RELAY_PUBLIC_ADDRESSES", values.parts(parse_address), nowhere),
        relay_tunnel_bind=read("RELAY_TUNNEL_BIND", values.bind, Address("0.0.0.0", 0)),
        relay_tunnel_advertise=read("RELAY_TUNNEL_ADVERTISE", values.ip, None),
        relay_max_flows=read("RELAY_MAX_FLOWS", values.whole(1, 4_000_000), 100_000),
        relay_path=read("RELAY_PATH", values.path, "auto"),
        relay_workers=read("RELAY_WORKERS", values.whole(1, MAX_WORKERS), _cores()),
        relay_new_flows=read("RELAY_NEW_FLOWS", values.whole(0, 1_000_000), 100),
        relay_flow_packets_per_second=read("RELAY_FLOW_PACKETS_PER_SECOND", values.whole(0, 1_000_000), 500),
        relay_flow_burst=read("RELAY_FLOW_BURST", values.whole(1, 1_000_000), 250),
        relay_learn=read("RELAY_LEARN", values.flag, True),
        relay_find=read("RELAY_FIND", values.find, "ask"),
        relay_drain_seconds=read("RELAY_DRAIN_SECONDS", values.number(0, 3600), 1.0),
        relay_state_file=read("RELAY_STATE_FILE", Path, None),
        relay_http_bind=read("RELAY_HTTP_BIND", values.bind, None),
        relay_tcp_bind=read("RELAY_TCP_BIND", values.bind, None),
        relay_tcp_public_addresses=read("RELAY_TCP_PUBLIC_ADDRESSES", values.parts(parse_address), nowhere),
        route_keys=read("ROUTE_KEYS", values.Secret, None),
        route_keys_file=read("ROUTE_KEYS_FILE", Path, None),
        cluster=read("CLUSTER", values.cluster, None),
        relay_place=read("RELAY_PLACE", values.place, None),
        relay_backbone_bind=read("RELAY_BACKBONE_BIND", values.bind, None),
        relay_backbone_advertise=read("RELAY_BACKBONE_ADVERTISE", values.ip, None),
        relay_ingress=read("RELAY_INGRESS", values.whole(1, MAX_INGRESS), None),
        backbone_key=read("BACKBONE_KEY", values.Secret, None),
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
