"""The table of permissions, held against the subjects and the stores that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antiphon.runtime.nats.permissions import AT_HUB, NAMED, PUBLISHERS, ROLES, User, permissions_of
from antiphon.runtime.nats.stores import STORES, hub_stores
from antiphon.schemas.subjects import BUCKET_LEASES, CROSSES, LEASE_STORAGE_KEY, STREAM_WEBHOOKS, SUBJECTS

pytestmark = pytest.mark.pure

USERS = [
    User(
        role,
        "mine" if role in NAMED else "",
        of="other" if role == "shadow" else "",
        clusters=(1, 2) if role == "leaf" else (),
    )
    for role in ROLES
]
REGION_CONF = Path(__file__).parents[2] / "deploy" / "nats" / "region.conf"


def _overlap(pattern: str, other: str) -> bool:
    """Whether one subject matches both, wildcards of NATS in either."""
    one, two = pattern.split("."), other.split(".")
    for left, right in zip(one, two, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right):
            return False
    return len(one) == len(two)


def _wildcard(name: str) -> str:
    return re.sub(r"<[a-z]+>", "*", SUBJECTS[name].pattern)


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.role)
def test_a_role_publishes_only_what_it_is_the_publisher_of(user: User) -> None:
    for name, subject in SUBJECTS.items():
        allowed = [each for each in permissions_of(user).publish if _overlap(each, _wildcard(name))]
        if not allowed or (user.role == "bridge" and name == "agent_claim_of"):  # passes claims on to its own instances
            continue
        publishers = re.sub(r"\([^)]*\)", "", subject.publisher).split(",")
        assert {each.strip() for each in publishers} & set(PUBLISHERS[user.role]), (name, allowed)


@pytest.mark.parametrize("role", ["signaling", "transceiver", "relay", "bridge"])
def test_each_subject_has_a_role_that_publishes_it(role: str) -> None:
    user = next(user for user in USERS if user.role == role)
    for name, subject in SUBJECTS.items():
        if subject.publisher.startswith(PUBLISHERS[role][0]):
            assert any(_overlap(each, _wildcard(name)) for each in permissions_of(user).publish), name


@pytest.mark.parametrize(
    "user", [user for user in USERS if user.role not in ("setup", "hub_setup")], ids=lambda user: user.role
)
def test_no_role_but_setup_makes_changes_or_deletes_a_store_and_all_names_are_of_the_table(user: User) -> None:
    streams = {store.stream for store in (*STORES.values(), *hub_stores(5).values())}
    for subject in permissions_of(user).publish:
        if subject.startswith(("$JS.API.CONSUMER.MSG.NEXT.", "$JS.ACK.")):
            assert user.role == "signaling", subject  # it takes webhooks, and nothing else is taken
            assert STREAM_WEBHOOKS in subject.split("."), subject
        elif subject.startswith("$JS.API."):
            match = re.match(r"\$JS\.API\.(STREAM\.INFO|DIRECT\.GET|CONSUMER\.CREATE)\.([\w-]+)(\.\S+)?$", subject)
            assert match, subject
            assert match[2] in streams, subject
            assert match[1] == "STREAM.INFO" or match[3], subject  # without a key or filter it would read everything
        elif subject.startswith("$KV."):
            assert f"KV_{subject.split('.')[1]}" in streams, subject
        else:
            assert subject.startswith(("antiphon.v1.", "$SRV.", "_INBOX_")), subject


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.role)
def test_a_role_reads_its_own_replies_and_those_of_no_other(user: User) -> None:
    inboxes = [each for each in permissions_of(user).subscribe if each.startswith("_INBOX")]
    if user.role == "leaf":
        assert inboxes == ["_INBOX_signaling.mine.>", "_INBOX_transceiver.mine.>"]
        return
    of_plug_ins = ("agent", "text_agent", "shadow")
    expected = f"_INBOX_agent.{user.name}" if user.role in of_plug_ins else f"_INBOX_{user.role}"
    asks = any(each.startswith("$SRV.") for each in permissions_of(user).publish)
    answers = ["_INBOX_reply.>"] if user.role == "bridge" else []  # of text agents, each below its own name
    assert inboxes == [*answers, f"{expected}.>", *([f"{expected}_register.>"] if asks else [])]
    assert not any(each.startswith((">", "*", "_INBOX.", "_INBOX_*")) for each in permissions_of(user).subscribe)


REGISTER_OF_AGENTS = {
    f"_INBOX_{role}_register" for role in ("transceiver", "bridge", "signaling", "operator", "websocket")
}
ANSWERS = {
    "setup": set(),
    "recorder": set(),
    "operator": set(),
    "signaling": {"_INBOX_operator", "_INBOX_operator_register", "_INBOX_signaling_register"},
    "relay": {
        "_INBOX_operator",
        *(f"_INBOX_{role}_register" for role in ("operator", "signaling", "relay")),
    },
    "worker": {
        "_INBOX_bridge",
        "_INBOX_operator",
        *(f"_INBOX_{role}_register" for role in ("bridge", "worker", "signaling", "operator")),
    },
    "transceiver": {
        *(f"_INBOX_{role}" for role in ("signaling", "relay", "transceiver", "bridge", "operator")),
        *(f"_INBOX_{role}_register" for role in ("transceiver", "signaling", "operator")),
        "_INBOX_agent.*",
    },
    "websocket": {"_INBOX_signaling", "_INBOX_bridge", "_INBOX_operator", "_INBOX_agent.*"},
    "bridge": {
        *(f"_INBOX_{role}" for role in ("transceiver", "bridge", "operator", "websocket")),
        *REGISTER_OF_AGENTS,
    },
    "agent": {
        *(f"_INBOX_{role}" for role in ("transceiver", "operator", "websocket")),
        *REGISTER_OF_AGENTS,
    },
    "text_agent": {"_INBOX_reply.mine"},
    "shadow": {"_INBOX_operator", *REGISTER_OF_AGENTS},
    "hub_setup": set(),
    "hub_relay": set(),
    "hub_transceiver": set(),
    "leaf": {"_INBOX_signaling.*", "_INBOX_transceiver.*"},
}


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.role)
def test_a_role_answers_those_that_ask_it_and_a_plug_in_no_other_plug_in(user: User) -> None:
    answered = {each.removesuffix(".>") for each in permissions_of(user).publish if "_INBOX" in each}
    assert answered == ANSWERS[user.role]


@pytest.mark.parametrize("role", ["agent", "text_agent", "shadow"])
def test_a_plug_in_names_one_agent_everywhere_but_in_the_register(role: str) -> None:
    user = next(user for user in USERS if user.role == role)
    names = {"mine", "other"} if role == "shadow" else {"mine"}
    permissions = permissions_of(user)
    publish = [each for each in permissions.publish if not each.startswith("_INBOX_")]
    # A process's id is drawn at its start, so that it can't be in a credential: a plug-in may listen to what operators
    # ask of processes of other agents, and not ask itself.
    asked = "antiphon.v1.drain.antiphon-agent.*"
    for subject in [*publish, *(each for each in permissions.subscribe if each != asked)]:
        if not subject.endswith(f"$KV.{BUCKET_LEASES}.{LEASE_STORAGE_KEY}"):
            assert subject.startswith("$SRV.") or names & set(re.split(r"[._]", subject)), subject
    if role == "shadow":
        assert not any(".session." in each for each in permissions.publish if not each.startswith("$JS.API.CONSUMER"))


def test_nothing_but_the_recorder_and_the_speaking_parts_hears_a_caller() -> None:
    hearing = {
        user.role for user in USERS for each in permissions_of(user).subscribe if _overlap(each, _wildcard("audio_in"))
    }
    assert hearing == {"bridge", "agent", "shadow", "recorder"}


# ---- regions -------------------------------------------------------------------------------------------


def _crosses(name: str) -> bool:
    return name in CROSSES


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_leaf_may_carry_a_row_if_and_only_if_it_crosses(name: str) -> None:
    leaf = permissions_of(next(user for user in USERS if user.role == "leaf"))
    assert any(_overlap(each, _wildcard(name)) for each in leaf.publish) == _crosses(name)
    assert any(_overlap(each, _wildcard(name)) for each in leaf.subscribe) == _crosses(name)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_region_s_own_server_denies_a_row_if_and_only_if_it_does_not_cross(name: str) -> None:
    denied = _stays()
    covered = any(_covers(each, _wildcard(name)) for each in denied)
    assert covered != _crosses(name)
    assert any(_overlap(each, _wildcard(name)) for each in denied) == covered


def test_a_region_s_own_server_denies_stores_the_register_and_inboxes_of_all_but_those_who_ask_other_regions() -> None:
    denied = _stays()
    for user in USERS:
        for inbox in (each for each in permissions_of(user).subscribe if each.startswith("_INBOX")):
            crossing = user.role in AT_HUB or inbox in ("_INBOX_signaling.>", "_INBOX_transceiver.>")
            assert any(_covers(each, inbox) for each in denied) != crossing, inbox
    for subject in ("$KV.antiphon-leases.echo.s1", "$JS.API.INFO", "$JS.eu.API.INFO", "$SRV.PING"):
        assert any(_covers(each, subject) for each in denied), subject


def test_a_region_announces_its_own_clusters_and_relays_alone_and_answers_for_no_other_cluster() -> None:
    leaf = permissions_of(User("leaf", "eu", clusters=(1,), relays=("eu-a",)))
    others = ("antiphon.v1.transceiver.2.1.announce", "antiphon.v1.relay.us-a.announce")
    assert not any(_overlap(each, other) for each in leaf.publish for other in others)
    asked = ("transceiver.2.1.open", "cluster.2.call.s1.open", "copy.2.store")
    assert not any(_overlap(each, f"antiphon.v1.{other}") for each in leaf.subscribe for other in asked)


def _stays() -> list[str]:
    written = re.search(r"(?s)^stays: \[(.*?)^\]", REGION_CONF.read_text(), flags=re.M)
    assert written is not None
    return re.findall(r'"([^"]+)"', written[1])


def _covers(pattern: str, subject: str) -> bool:
    """Whether the pattern matches all that the subject, which may have wildcards, does."""
    one, two = pattern.split("."), subject.split(".")
    for left, right in zip(one, two, strict=False):
        if left == ">":
            return True
        if right == ">" or (left != right and left != "*"):
            return False
    return len(one) == len(two)


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.role)
def test_operators_and_signaling_alone_list_calls_and_drain_processes(user: User) -> None:
    asks = {each for each in permissions_of(user).publish if re.search(r"\.(calls\.list|drain\.)", each)}
    both = {"antiphon.v1.calls.list", "antiphon.v1.drain.*.*"}
    assert asks == (both if user.role in ("operator", "signaling") else set())
