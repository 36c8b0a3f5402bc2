"""The Secrets of a stack: what is made, and what is kept."""

from __future__ import annotations

import json

import pytest

from antiphon.runtime.nats import nkeys
from antiphon.runtime.nats.kubernetes_secrets import Data, complete
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import UsersError, stack_users
from antiphon.schemas.route_token import RouteKeyring

pytestmark = pytest.mark.pure
USERS = stack_users(["*"])


class Secrets:
    """A namespace."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}

    def read(self, name: str) -> Data | None:
        return self.found.get(name)

    def write(self, name: str, data: Data) -> None:
        self.found.setdefault(name, {}).update(data)


@pytest.fixture
def secrets() -> Secrets:
    made = Secrets()
    complete(made, "voice", USERS)
    return made


def test_keys_and_a_seed_for_each_user_are_made_and_the_server_knows_the_users(secrets: Secrets) -> None:
    RouteKeyring.from_text(secrets.found["voice-route-keys"]["keys"])
    assert {len(secrets.found[f"voice-{each}-key"]["key"]) for each in ("password", "secret")} == {64}
    names = {name.removeprefix("voice-nats-") for name in secrets.found if name.startswith("voice-nats-")}
    assert names == {user.title for user in USERS} | {"users"}
    for name in names - {"users"}:
        key = nkeys.public_key(secrets.found[f"voice-nats-{name}"]["nkey"].strip())
        assert key in secrets.found["voice-nats-users"]["users.conf"]


def test_a_second_run_changes_nothing_and_one_with_another_agent_adds_it_alone(secrets: Secrets) -> None:
    before = {name: dict(data) for name, data in secrets.found.items()}
    assert complete(secrets, "voice", USERS) == []
    assert secrets.found == before
    written = complete(secrets, "voice", [*USERS, User("agent", "Weather_1")])
    assert written == ["voice-nats-agent-weather-1", "voice-nats-users"]
    assert {name: secrets.found[name] for name in before if name != "voice-nats-users"} == {
        name: data for name, data in before.items() if name != "voice-nats-users"
    }


def test_a_seed_whose_secret_was_deleted_is_made_anew_and_the_old_one_is_refused(secrets: Secrets) -> None:
    old = nkeys.public_key(secrets.found.pop("voice-nats-relay")["nkey"].strip())
    assert complete(secrets, "voice", USERS) == ["voice-nats-relay", "voice-nats-users"]
    assert old not in secrets.found["voice-nats-users"]["users.conf"]
    assert len(json.loads(secrets.found["voice-nats-users"]["users.json"])) == len(USERS)


def test_two_agents_that_kubernetes_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(UsersError, match="agent-a-b and agent-a_b would share one Secret"):
        complete(Secrets(), "voice", [User("agent", "a_b"), User("agent", "a-b")])
