"""The settings of the process, read from the environment and checked before anything is bound."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.rtc.media.consent_tone import seconds_between
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.settings import NatsSettings, OptionalPath
from antiphon.signaling.connections.connection_table import MAX_CONNECTIONS, PER_ADDRESS
from antiphon.signaling.placement.place_headers import PlaceHeaders
from antiphon.signaling.placement.region_urls import read_region_urls
from antiphon.signaling.trusted_proxies import TrustedProxies
from antiphon.signaling.webhooks.signature import read_secrets

MAX_WEBHOOK_URLS: Final = 8
"""Each has a consumer of its own in NATS."""
Limit = Annotated[int, Field(ge=0, le=1_000_000)]


class Settings(NatsSettings):
    """Environment variables with the prefix `ANTIPHON_`. Read once by `__main__`, never changed."""

    model_config = SettingsConfigDict(env_prefix="ANTIPHON_", frozen=True, extra="ignore")

    role = "signaling"
    cluster: int = Field(default=0, ge=0, lt=1 << 12)
    """Transceivers of this cluster are asked first."""
    region: str = Field(default="", max_length=64)
    """Where this signaling serves: what a client of unknown place is taken for. Empty: the region of its cluster."""
    region_urls: str = ""
    """`<region>=https://<host>`, comma separated: where those are sent that ask here for what only that region has."""
    place_headers: str = "none"
    """A preset of `place_headers`, or the names of the headers in which trusted proxies say where a client is."""
    place_table: Path | None = None
    """A file in MaxMind's format that says where addresses are, read again when it changes."""
    http_bind: str = "127.0.0.1:8080"
    """`ip:port` or `localhost:port`; port 0 takes a free one, which is logged."""
    api_keys: SecretStr = SecretStr("")
    """Comma separated. Without any, and without a file, every client that reaches the port may call."""
    api_keys_file: Path | None = None
    """The file of `antiphon api-keys`, read again when it changes; or a plain list, read at start only."""
    secret_keys: SecretStr = SecretStr("")
    """One or two keys of 64 hex digits, comma separated: the first signs `ek_` secrets, both verify."""
    secret_key_file: Path | None = None
    """A file with the same in its place, read again when it changes."""
    allow_open: bool = False
    """Without keys: bind another address than loopback all the same (containers, trusted networks)."""
    allowed_hosts: str = ""
    """Without keys: names, comma separated, under which this service is reached besides the obvious ones."""
    limit_calls_per_key: Limit = 1200
    """Per minute, as all limits; 0: none. All of a minute may be used at once."""
    limit_calls_per_address: Limit = 300
    limit_secrets_per_key: Limit = 1200
    limit_secrets_per_address: Limit = 1200
    limit_requests_per_key: Limit = 12000
    limit_requests_per_address: Limit = 3000
    limit_failures_per_address: Limit = 10
    """Failed authentications that an address has free; each further one blocks it for twice as long."""
    tls_cert: Path | None = None
    """PEM file of the certificate and the ones between it and its root; HTTPS is served with it, and HTTP without."""
    tls_key: Path | None = None
    """PEM file of its key, not encrypted."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, comma separated, that are believed what they say of a client's address."""
    connections_per_address: int = Field(default=PER_ADDRESS, ge=1, le=MAX_CONNECTIONS)
    websocket_calls: int = Field(default=64, ge=0, le=10_000)
    """Calls over WebSocket of this process at once; 0: none are taken."""
    websocket_nats_credentials: OptionalPath = None
    """As `nats_credentials`, of the role `websocket`. Without it, where there is that one, no such calls are taken."""
    timeline_words: bool = False
    """What is said in calls over WebSocket stands in their time lines."""
    consent_tone: str = "false"
    """A tone over the agent's speech in calls over WebSocket, as transceivers have it."""
    websocket_drain_seconds: float = Field(default=5.0, ge=0, le=86400)
    """At SIGTERM, for the calls over WebSocket to end by themselves."""
    agent_lost_seconds: float = Field(default=30.0, ge=0, le=3600)
    """Calls over WebSocket end when their agent is gone for so long; 0: they do not."""
    webhook_url: str = ""
    """Up to 8 URLs, comma separated, that get notices of calls; empty: none does. docs/webhooks.md"""
    webhook_secret: SecretStr = SecretStr("")
    """`whsec_...`, or two of them, comma separated: notices are signed with both."""
    webhook_secret_file: Path | None = None
    """A file with the same in its place."""
    webhook_retry_seconds: float = Field(default=3600.0, ge=10, le=86400)
    """For so long after a notice was written its delivery is tried again."""
    webhook_allow_http: bool = False
    """URLs with http to other machines are taken too."""
    default_agent: str = Field(default="concierge", pattern=r"^[A-Za-z0-9_-]{1,64}$")

    @field_validator("consent_tone")
    @classmethod
    def _is_tone(cls, value: str) -> str:
        seconds_between(value)
        return value

    @field_validator("api_keys_file", "secret_key_file", "place_table", "webhook_secret_file", mode="before")
    @classmethod
    def _none_for_empty(cls, value: object) -> object:
        """A variable that is set to nothing, as compose does, is not set."""
        return value or None

    @model_validator(mode="after")
    def _binds_safely(self) -> Self:
        host, _ = self.bind_address()
        if self.wants_no_keys() and not self.allow_open and not is_loopback(host):
            raise ValueError(
                f"ANTIPHON_HTTP_BIND is {self.http_bind} and no ANTIPHON_API_KEYS are set: without keys only loopback "
                "is served. Set keys, bind 127.0.0.1, or set ANTIPHON_ALLOW_OPEN=1 on a network you trust"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("CERT", "KEY") if self.tls_key is None else ("KEY", "CERT")
            raise ValueError(f"ANTIPHON_TLS_{given} is set and ANTIPHON_TLS_{missing} is not: TLS needs both")
        self.urls_of_regions()  # read in any case, so that a mistake in it is named now
        proxies = self.proxies()  # read in any case, so that a mistake in it is named now
        if self.headers_of_place() and not proxies:
            raise ValueError(
                f"ANTIPHON_PLACE_HEADERS is {self.place_headers!r:.80} and no ANTIPHON_TRUSTED_PROXIES are set: "
                "these headers are believed from them only"
            )
        return self

    @model_validator(mode="after")
    def _websocket_files_can_be_used(self) -> Self:
        self.websocket_access().check()
        return self

    @model_validator(mode="after")
    def _webhooks_can_be_sent(self) -> Self:
        for url in self.webhook_urls():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"ANTIPHON_WEBHOOK_URL has {url!r:.80}: expected https://host/path")
            if parts.scheme == "http" and not (self.webhook_allow_http or is_loopback(parts.hostname)):
                raise ValueError(
                    f"ANTIPHON_WEBHOOK_URL has an http URL of {parts.hostname}: notices name calls and callers' "
                    "networks, use https, or set ANTIPHON_WEBHOOK_ALLOW_HTTP=1 on a network you trust"
                )
        if self.webhook_urls():
            self.webhook_keys()
        return self

    def urls_of_regions(self) -> dict[str, str]:
        """By region, without a slash at the end."""
        return read_region_urls(self.region_urls)

    def webhook_urls(self) -> list[str]:
        """The URLs that get webhooks; ValueError for too many."""
        urls = list(dict.fromkeys(filter(None, (each.strip() for each in self.webhook_url.split(",")))))
        if len(urls) > MAX_WEBHOOK_URLS:
            raise ValueError(f"ANTIPHON_WEBHOOK_URL has {len(urls)} URLs: at most {MAX_WEBHOOK_URLS} are taken")
        return urls

    def webhook_keys(self) -> tuple[bytes, ...]:
        """The keys that sign them; ValueError names the variable and what is wrong."""
        text, name = self.webhook_secret.get_secret_value(), "ANTIPHON_WEBHOOK_SECRET"
        if not text and self.webhook_secret_file is not None:
            name = "ANTIPHON_WEBHOOK_SECRET_FILE"
            try:
                text = self.webhook_secret_file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is no text"
                raise ValueError(f"{name} {self.webhook_secret_file} can't be read: {why}") from None
        try:
            return read_secrets(text)
        except ValueError as error:
            raise ValueError(f"ANTIPHON_WEBHOOK_URL is set, and {name} holds {error}") from None

    def websocket_access(self) -> Access:
        """Who we are for NATS where we own calls over WebSocket."""
        return self.nats_access("websocket")._replace(
            credentials=self.websocket_nats_credentials, prefix="ANTIPHON_WEBSOCKET_NATS"
        )

    def proxies(self) -> TrustedProxies:
        """`trusted_proxies`, read; ValueError names the wrong part."""
        return TrustedProxies(self.trusted_proxies)

    def headers_of_place(self) -> PlaceHeaders:
        """`place_headers`, read; ValueError says what it takes."""
        return PlaceHeaders(self.place_headers)

    def bind_address(self) -> tuple[str, int]:
        """Host as an IP literal and port; ValueError names what is wrong."""
        host, _, port = self.http_bind.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
            number = int(port)
        except ValueError:
            number = -1
        if not 0 <= number < 65536:
            raise ValueError(f"ANTIPHON_HTTP_BIND is {self.http_bind!r}: expected ip:port such as 127.0.0.1:8080")
        return host, number

    def keys(self) -> list[str]:
        """The API keys of `ANTIPHON_API_KEYS`, without those of the file."""
        return list(dict.fromkeys(filter(None, (key.strip() for key in self.api_keys.get_secret_value().split(",")))))

    def wants_no_keys(self) -> bool:
        """Every client may call."""
        return not self.keys() and self.api_keys_file is None

    def extra_hosts(self) -> frozenset[str]:
        """`allowed_hosts` as lower-case names."""
        return frozenset(filter(None, (name.strip().lower() for name in self.allowed_hosts.split(","))))


def is_loopback(host: str) -> bool:
    """Whether an IP literal or `localhost` means this machine only."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load() -> Settings:
    """The settings, or ValueError with one line that says which variable is wrong (never its secret value)."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "".join(f"ANTIPHON_{str(part).upper()}: " for part in first["loc"][:1])
        raise ValueError(name + first["msg"].removeprefix("Value error, ")) from None
