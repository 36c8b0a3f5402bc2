"""The relay's settings, from `ANTIPHON_*` variables; docs/relay.md has them as a table."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.bus import DEFAULT_NATS_URL
from antiphon.schemas.route_token import RouteKeyring


class SettingsError(ValueError):
    """A setting can't be used; the text names the variable, what is wrong and the way out."""


def _bind_address(text: str) -> Address:
    """As `parse_address`, but port 0 is allowed: the system picks one."""
    host, colon, port = text.strip().rpartition(":")
    if colon and port == "0":
        return parse_address(f"{host}:1")._replace(port=0)
    return parse_address(text.strip())


def _bind(value: Any) -> Any:
    return _bind_address(value) if isinstance(value, str) else value


def _binds(value: Any) -> Any:
    return [_bind_address(part) for part in _parts(value)] if isinstance(value, str) else value


def _addresses(value: Any) -> Any:
    return [parse_address(part) for part in _parts(value)] if isinstance(value, str) else value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ip(value: Any) -> Any:
    return str(ipaddress.ip_address(value.strip())) if isinstance(value, str) else value


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "relay"


class RelaySettings(BaseSettings):
    """Everything a relay is told."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", extra="ignore", env_ignore_empty=True)

    nats_url: str = DEFAULT_NATS_URL
    relay_name: str = Field(default_factory=_host_name, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    relay_region: str = Field(default="local", max_length=64)
    relay_bind: Annotated[list[Address], NoDecode, BeforeValidator(_binds)] = [Address("0.0.0.0", 3478)]
    """Where clients reach it: at most one address per family."""
    relay_public_addresses: Annotated[list[Address], NoDecode, BeforeValidator(_addresses)] = []
    """What clients are told; empty: the bound addresses, with loopback for a wildcard."""
    relay_tunnel_bind: Annotated[Address, NoDecode, BeforeValidator(_bind)] = Address("0.0.0.0", 0)
    relay_tunnel_advertise: Annotated[str | None, BeforeValidator(_ip)] = None
    """IP that transceivers see as the source of tunnel packets; None: the way to NATS decides."""
    relay_max_flows: int = Field(default=100_000, ge=1, le=4_000_000)
    relay_path: Literal["auto", "batched", "portable"] = "auto"
    route_keys: SecretStr | None = None
    route_keys_file: Path | None = None

    @model_validator(mode="after")
    def _is_usable(self) -> RelaySettings:
        families = [":" in address.host for address in self.relay_bind]
        if not families or len(families) != len(set(families)):
            raise ValueError(
                "ANTIPHON_RELAY_BIND: takes one IPv4 and one IPv6 address at most, such as 0.0.0.0:3478,[::]:3478 "
                "(answers must leave by the address that was asked)"
            )
        try:
            RouteKeyring.from_text(self.route_keys_text())
        except ValueError as error:
            raise ValueError(f"ANTIPHON_ROUTE_KEYS: {error}") from None
        return self

    def route_keys_text(self) -> str:
        """The keys as `A:<32 hex digits>[,B:...]`, from the variable or the file."""
        if self.route_keys is not None:
            return self.route_keys.get_secret_value()
        if self.route_keys_file is None:
            raise ValueError("is not set; give A:<32 hex digits> here, or a file with it in ANTIPHON_ROUTE_KEYS_FILE")
        try:
            return ",".join(self.route_keys_file.read_text().split())
        except OSError as error:
            raise ValueError(f"ANTIPHON_ROUTE_KEYS_FILE {self.route_keys_file}: {error.strerror}") from None


def load() -> RelaySettings:
    """Read the environment; `SettingsError` with one line per mistake."""
    try:
        return RelaySettings()
    except ValidationError as error:
        lines = []
        for each in error.errors(include_url=False, include_input=False):
            text = each["msg"].removeprefix("Value error, ")
            name = "ANTIPHON_" + str(each["loc"][0]).upper() if each["loc"] else ""
            lines.append(f"{name}: {text}" if name else text)
        raise SettingsError("; ".join(lines)) from None
