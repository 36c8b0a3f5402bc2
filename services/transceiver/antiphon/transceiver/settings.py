"""The settings of a transceiver: environment variables that begin with ANTIPHON_."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.rtc.media.consent_tone import seconds_between
from antiphon.runtime.cluster_networks import parse_networks
from antiphon.runtime.nats.hub_settings import HubSettings
from antiphon.runtime.nats.settings import OptionalPath
from antiphon.schemas.addresses import parse_address
from antiphon.schemas.messages import Place
from antiphon.schemas.route_token import RouteKeyring
from antiphon.transceiver.copies.copy_keys import ForeignCluster, read_keys


def _set(value: object) -> object:
    """Compose passes what is not set as an empty text."""
    return None if value == "" else value


class Settings(HubSettings):
    """Settings of one transceiver process; docs/transceiver.md explains each. A value, read once at its start."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", extra="ignore")

    role = "transceiver"
    cluster: int = Field(default=0, ge=0, lt=1 << 12)
    region: str = Field(default="", max_length=64)
    place: str = ""
    node_name: str = Field(default="", max_length=253)
    slot: int | None = Field(default=None, ge=0, lt=1 << 16)
    transceiver_bind: str = "0.0.0.0:0"
    transceiver_advertise: str | None = None
    transceiver_processes: int = Field(default=1, ge=1, le=256)
    capacity: int = Field(default=100, ge=1, le=10000)
    max_lateness_ms: float = Field(default=50.0, gt=0)
    connect_within: float = Field(default=2.5, ge=0, le=60)
    consent_seconds: float = Field(default=30.0, ge=6, le=600)
    agent_lost_seconds: float = Field(default=30.0, ge=0, le=3600)
    keep_flows: bool = False
    timeline_words: bool = False
    """What is said in calls stands in their time lines."""
    hand_over: bool = True
    drain_seconds: float = Field(default=0.0, ge=0, le=86400)
    cluster_networks: str = ""
    consent_tone: str = "false"
    copy_cluster: Annotated[int | None, BeforeValidator(_set)] = Field(default=None, ge=0, lt=1 << 12)
    copy_calls: Literal["asked", "all"] = "asked"
    hub_replicas: Literal["1", "3", "5"] = "3"
    """As `antiphon setup --hub` has it, and all transceivers: the registers of the copy leases."""
    copy_of_file: OptionalPath = None
    route_keys: str = ""
    route_keys_file: Path | None = None
    password_key: str = ""
    password_key_file: Path | None = None

    @field_validator("cluster_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("consent_tone")
    @classmethod
    def _is_tone(cls, value: str) -> str:
        seconds_between(value)
        return value

    @field_validator("transceiver_bind")
    @classmethod
    def _is_address(cls, value: str) -> str:
        # Port 0 means any free port; `parse_address` refuses it, as every other address needs a port.
        parse_address(value[:-1] + "1" if value.endswith(":0") else value)
        return value

    @field_validator("transceiver_advertise")
    @classmethod
    def _is_host(cls, value: str | None) -> str | None:
        try:
            return str(ipaddress.ip_address(value)) if value is not None else None
        except ValueError:
            raise ValueError(f"ANTIPHON_TRANSCEIVER_ADVERTISE {value!r} is no IP address") from None

    @field_validator("place")
    @classmethod
    def _is_place(cls, value: str) -> str:
        if value:
            Place.from_text(value)
        return value

    @model_validator(mode="after")
    def _keys_are_there(self) -> Settings:
        self.keyring()
        if len(self.password_key_bytes()) < 16:
            raise ValueError("the password key has fewer than 16 bytes: make one with `antiphon keys`")
        return self

    def consent_tone_seconds(self) -> float:
        """Seconds between two consent tones; 0: none."""
        return seconds_between(self.consent_tone)

    def announced_place(self) -> Place | None:
        """`place`, read."""
        return Place.from_text(self.place) if self.place else None

    @model_validator(mode="after")
    def _copies_can_be_kept(self) -> Settings:
        if self.copy_cluster == self.cluster:
            raise ValueError(f"ANTIPHON_COPY_CLUSTER {self.copy_cluster} is our own cluster: name another region's")
        copies = "ANTIPHON_COPY_CLUSTER" if self.copy_cluster is not None else "ANTIPHON_COPY_OF_FILE"
        if self.has_copies:
            if self.hub() is None:
                raise ValueError(f"{copies} needs ANTIPHON_HUB_NATS_URL: the hub says who owns calls with a copy")
            if not self.hand_over:
                raise ValueError(f"{copies} needs checkpoints: ANTIPHON_HAND_OVER must not be 0")
        self.copies_of()
        return self

    @property
    def has_copies(self) -> bool:
        """Our calls may have copies, or we keep those of other clusters."""
        return self.copy_cluster is not None or self.copy_of_file is not None

    def copies_of(self) -> dict[int, ForeignCluster]:
        """The clusters that we keep copies of."""
        return read_keys(self.copy_of_file, self.cluster) if self.copy_of_file is not None else {}

    def keyring(self) -> RouteKeyring:
        """The route keys, from the variable or its file."""
        return RouteKeyring.from_text(_secret("route_keys", self.route_keys, self.route_keys_file))

    def password_key_bytes(self) -> bytes:
        """The key that ICE passwords are derived from."""
        text = _secret("password_key", self.password_key, self.password_key_file)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise ValueError("ANTIPHON_PASSWORD_KEY is not written as hex digits") from None


def _secret(name: str, value: str, file: Path | None) -> str:
    if value:
        return value.strip()
    variable = f"ANTIPHON_{name.upper()}"
    if file is None:
        raise ValueError(f"neither {variable} nor {variable}_FILE is set: make keys with `antiphon keys`")
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ValueError(f"{variable}_FILE {file} can't be read: {error.strerror}") from None
