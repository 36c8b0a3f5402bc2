"""The settings of a service's connection to NATS, for services that read theirs with pydantic-settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_settings import BaseSettings

from antiphon.runtime.nats.access import Access, AccessError
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, checked

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _set(value: object) -> object:
    """Compose passes what is not set as an empty text."""
    return None if value == "" else value


OptionalPath = Annotated[Path | None, BeforeValidator(_set)]


class NatsSettings(BaseSettings):
    """The base of the `Settings` of each service; files that can't be used are refused with the other mistakes."""

    role: ClassVar[str] = ""
    """Of the service, as `permissions.ROLES` has it."""

    nats_url: Annotated[str, AfterValidator(checked)] = DEFAULT_NATS_URL
    nats_credentials: OptionalPath = None
    """A file with the seed of an nkey (`SU...`), or a NATS `.creds` file, that its owner alone may read."""
    nats_tls_ca: OptionalPath = None
    """The authority that the server's certificate is checked against; a server without TLS is refused."""
    nats_tls_cert: OptionalPath = None
    nats_tls_key: OptionalPath = None

    @model_validator(mode="after")
    def _files_can_be_used(self) -> NatsSettings:
        self.nats_access().check()
        return self

    def nats_access(self, role: str = "") -> Access:
        """Who we are for NATS; `role`: another one than the service's.

        Answers from other regions come to inboxes below the name of ours, where a service's settings have a `region`.
        """
        region = str(getattr(self, "region", ""))
        if region and not _TOKEN.fullmatch(region):
            raise AccessError(
                f"ANTIPHON_REGION {region!r:.80} may hold letters, digits, - and _ only, at most 64 of them"
            )
        return Access(
            role or self.role,
            "",
            self.nats_credentials,
            self.nats_tls_ca,
            self.nats_tls_cert,
            self.nats_tls_key,
            region=region,
        )
