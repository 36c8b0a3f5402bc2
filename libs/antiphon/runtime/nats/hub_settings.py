"""The settings of a service's connection to the hub, for services that read theirs with pydantic-settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from antiphon.runtime.nats.access import HUB_PREFIX, Access
from antiphon.runtime.nats.hub import Hub, hub_role
from antiphon.runtime.nats.server_url import checked_list
from antiphon.runtime.nats.settings import NatsSettings, OptionalPath


def _checked(text: str) -> str:
    if text:
        checked_list(text)
    return text


class HubSettings(NatsSettings):
    """The base of the `Settings` of a service that has a second connection, to the hub. In place of `NatsSettings`."""

    region: str = ""
    """Of this process; empty: there are no others."""
    hub_nats_url: Annotated[str, AfterValidator(_checked)] = ""
    """Of the hub's servers, the nearest first, separated by commas; empty: there is no hub."""
    hub_nats_credentials: OptionalPath = None
    """As `nats_credentials`, of the role's user at the hub."""
    hub_nats_tls_ca: OptionalPath = None
    hub_nats_tls_cert: OptionalPath = None
    hub_nats_tls_key: OptionalPath = None

    @model_validator(mode="after")
    def _hub_files_can_be_used(self) -> HubSettings:
        if (hub := self.hub()) is not None:
            hub.access.check()
        return self

    def hub(self) -> Hub | None:
        """Where the hub is and who we are there; None: there is no hub."""
        if not self.hub_nats_url:
            return None
        access = Access(
            hub_role(self.role),
            "",
            self.hub_nats_credentials,
            self.hub_nats_tls_ca,
            self.hub_nats_tls_cert,
            self.hub_nats_tls_key,
            HUB_PREFIX,
        )
        return Hub(checked_list(self.hub_nats_url), access)
