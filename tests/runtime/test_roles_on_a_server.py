"""The table of docs/security.md, "NATS: roles and credentials", walked on a real server: what each credential opens.

`MAY` is written by hand, apart from the table that the server's configuration is made from. What it does not list has
to be refused, for each role: to hear, speak, claim, announce, delete, and to read leases and inboxes of others.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from typing import Final

import nats.errors
import pytest
from nats.aio.msg import Msg
from support.processes.nats_roles import AT_THE_HUB, EVERYBODY, GuardedNats, guarded_nats

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.permissions import ROLES, User
from antiphon.runtime.nats.stores import STORES
from antiphon.schemas.subjects import SUBJECTS

pytestmark = pytest.mark.process

SESSION_PARTS: Final = ("audio.in", "audio.out", "data.in", "data.out", "event", "control")
SERVICES: Final = ("relay", "transceiver", "signaling", "agent", "worker")
A: Final = "antiphon.v1."
TEXT_AGENT: Final = User("text_agent", "words")


def _subjects() -> list[str]:
    """One of each kind: of the role's own and of another agent, relay, cluster."""
    found = [f"{A}session.{agent}.s1.{part}" for agent in ("echo", "theirs", "concierge") for part in SESSION_PARTS]
    found += [f"{A}call.s1.{what}" for what in ("attach", "open", "hang_up", "status", "transfer")]
    found += [f"{A}timeline.s1", f"{A}ended.s1", f"{A}webhook.call", f"{A}calls.list"]
    found += [f"{A}drain.antiphon-{service}.x" for service in SERVICES]
    for cluster in (0, 1):
        found += [f"{A}transceiver.{cluster}.1.{what}" for what in ("announce", "open", "take_over", "adopt", "drain")]
        found += [f"{A}cluster.{cluster}.{what}" for what in ("moved", "call.s1.open", "call.s1.status")]
        found += [f"{A}copy.{cluster}.store"]
    found += [f"{A}relay.{name}.{what}" for name in ("mine", "theirs") for what in ("announce", "stats")]
    for agent in ("echo", "theirs", "concierge", "ear", "words"):
        found += [f"{A}agent.{agent}.{what}" for what in ("claim", "claim.i1", "beat", "announce", "reply")]
    found += ["_INBOX_reply.words.x.y", "_INBOX_reply.theirs.x.y"]
    return [*found, f"{A}worker.stt", f"{A}worker.llm", f"{A}flow.find", "$SYS.REQ.SERVER.PING", "another.subject"]


def _stored() -> list[str]:
    """Writes and reads of each store, by key, by filter, and whole; what changes and deletes it."""
    found = []
    keys = {
        "antiphon-leases": ("echo.s1", "theirs.s1", "ear.s1", "concierge.s1", "storage"),
        "antiphon-relays": ("mine", "theirs"),
        "antiphon-numbers": ("ingress.1", "cluster.1"),
        "antiphon-limits": ("0.1", "used.s1", "prepared.s1"),
    }
    for store in STORES.values():
        api, stream = "$JS.API.", store.stream
        subjects = [f"{A}session.{agent}.s1.audio.in" for agent in ("echo", "theirs")]
        if store.kind == "bucket":
            subjects = [f"$KV.{store.name}.{key}" for key in keys.get(store.name, ("0.1", "1.1"))]
            found += subjects
        found += [f"{api}DIRECT.GET.{stream}", f"{api}STREAM.MSG.GET.{stream}", f"{api}STREAM.INFO.{stream}"]
        found += [f"{api}STREAM.{verb}.{stream}" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE")]
        found += [f"{api}STREAM.{verb}.{stream}" for verb in ("SNAPSHOT", "RESTORE")]
        found += [f"{api}CONSUMER.CREATE.{stream}", f"{api}CONSUMER.CREATE.{stream}.c", f"{api}CONSUMER.LIST.{stream}"]
        found += [f"{api}CONSUMER.DURABLE.CREATE.{stream}.c", f"{api}CONSUMER.MSG.NEXT.{stream}.c"]
        found += [f"$JS.ACK.{stream}.c.1.1.1.1.0"]
        found += [f"{api}CONSUMER.{verb}.{stream}.c" for verb in ("DELETE", "INFO", "PAUSE")]
        for subject in subjects:
            found += [f"{api}DIRECT.GET.{stream}.{subject}", f"{api}CONSUMER.CREATE.{stream}.c.{subject}"]
        found += [f"{api}CONSUMER.CREATE.{stream}.c.>"]
    return [*found, "$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.CREATE.mine"]


WILD: Final = (
    ">", "*", f"{A}>", f"{A}session.>", f"{A}session.*.*.>", f"{A}session.*.*.audio.in", f"{A}session.echo.>",
    f"{A}session.*.*.event", f"{A}session.*.*.*.out", f"{A}agent.*.claim", f"{A}agent.>", f"{A}transceiver.*.*.open",
    f"{A}call.>", "_INBOX.>", "*.>", "$KV.>", "$KV.antiphon-leases.>", "$KV.antiphon-sessions.>", "$JS.>",
    "$JS.EVENT.>", "$SYS.>", "$SRV.>",
)  # fmt: skip
WALKED: Final = (*EVERYBODY, *AT_THE_HUB, TEXT_AGENT)
ROLES_OF: Final = {user.title: user for user in WALKED if user.role != "leaf"}
INBOXES: Final = {
    title: f"_INBOX_agent.{user.name}" if user.role in ("agent", "text_agent", "shadow") else f"_INBOX_{user.role}"
    for title, user in ROLES_OF.items()
}

MAY: Final[dict[str, tuple[list[str], list[str]]]] = {
    # title: (publishes, subscribes), as patterns of the names above
    "relay-mine": (
        [
            f"{A}relay.mine.announce", f"{A}flow.find", "$KV.antiphon-relays.mine",
            "$JS.API.DIRECT.GET.KV_antiphon-relays.$KV.*", "$JS.API.STREAM.INFO.KV_antiphon-relays",
            "$JS.API.DIRECT.GET.KV_antiphon-flows.$KV.*", "$JS.API.DIRECT.GET.KV_antiphon-transceivers.$KV.*",
            "$JS.API.STREAM.INFO.KV_antiphon-transceivers",
        ],
        [
            f"{A}relay.*.announce", f"{A}relay.mine.stats", f"{A}transceiver.?.1.announce", f"{A}cluster.?.moved",
            f"{A}drain.antiphon-relay.x",
        ],
    ),
    "transceiver": (
        [
            f"{A}session.*.s1.audio.in", f"{A}session.*.s1.data.in", f"{A}session.*.s1.event",
            f"{A}transceiver.0.1.announce", f"{A}transceiver.0.1.take_over", f"{A}transceiver.0.1.adopt",
            f"{A}agent.*.claim", f"{A}agent.*.claim.i1", f"{A}cluster.?.moved", f"{A}copy.?.store",
            f"{A}agent.*.beat", "$KV.antiphon-leases.*.s1", "$KV.antiphon-copies.*",
            "$JS.API.DIRECT.GET.KV_antiphon-copies.$KV.*", "$JS.API.STREAM.INFO.KV_antiphon-copies",
            "$KV.antiphon-transceivers.0.1", "$KV.antiphon-slots.0.1", "$KV.antiphon-sessions.0.1",
            "$JS.API.DIRECT.GET.KV_antiphon-transceivers.$KV.*", "$JS.API.DIRECT.GET.KV_antiphon-relays.$KV.*",
            "$JS.API.DIRECT.GET.KV_antiphon-slots.$KV.*", "$JS.API.DIRECT.GET.KV_antiphon-sessions.$KV.*",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.*", "$JS.API.DIRECT.GET.KV_antiphon-flows.$KV.*",
            "$JS.API.STREAM.INFO.KV_antiphon-transceivers", "$JS.API.STREAM.INFO.KV_antiphon-relays",
            "$JS.API.STREAM.INFO.KV_antiphon-sessions",
            "$KV.antiphon-prepared.0.1", "$JS.API.DIRECT.GET.KV_antiphon-prepared.$KV.antiphon-prepared.0.1",
            "$KV.antiphon-limits.prepared.s1", f"{A}timeline.s1", f"{A}ended.s1", f"{A}webhook.call",
        ],
        [
            f"{A}session.*.s1.*.out", f"{A}session.*.s1.control", f"{A}call.s1.*",
            f"{A}session.[*].[*].[*].out",
            f"{A}transceiver.?.1.announce", f"{A}transceiver.0.1.open", f"{A}transceiver.0.1.take_over",
            f"{A}transceiver.0.1.adopt", f"{A}relay.*.announce", f"{A}flow.find", f"{A}cluster.0.call.s1.*",
            f"{A}copy.0.store", f"{A}calls.list", f"{A}drain.antiphon-transceiver.x",
        ],
    ),
    "signaling": (
        [
            f"{A}transceiver.?.1.open", f"{A}call.s1.*", f"{A}cluster.?.call.s1.*", f"{A}session.*.s1.data.in",
            "$KV.antiphon-limits.*",
            "$JS.API.DIRECT.GET.KV_antiphon-limits.$KV.*", "$JS.API.STREAM.INFO.KV_antiphon-limits",
            "$JS.API.DIRECT.GET.KV_antiphon-transceivers.$KV.*", "$JS.API.DIRECT.GET.KV_antiphon-relays.$KV.*",
            "$JS.API.STREAM.INFO.KV_antiphon-transceivers", "$JS.API.STREAM.INFO.KV_antiphon-relays",
            "$JS.API.STREAM.INFO.KV_antiphon-limits",
            "$JS.API.CONSUMER.MSG.NEXT.antiphon-webhooks.c", "$JS.ACK.antiphon-webhooks.c.*",
            f"{A}calls.list", f"{A}drain.antiphon-*.x",
        ],
        [
            f"{A}session.*.s1.data.out", f"{A}session.*.s1.event", f"{A}session.[*].[*].event",
            f"{A}transceiver.?.1.announce", f"{A}relay.*.announce", f"{A}drain.antiphon-signaling.x",
        ],
    ),
    "websocket": (
        [
            f"{A}session.*.s1.audio.in", f"{A}session.*.s1.data.in", f"{A}session.*.s1.event",
            f"{A}agent.*.claim", f"{A}agent.*.claim.i1", "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.*",
            f"{A}timeline.s1", f"{A}ended.s1", f"{A}webhook.call",
        ],
        [
            f"{A}session.*.s1.*.out", f"{A}session.*.s1.control", f"{A}call.s1.*", f"{A}session.[*].[*].[*].out",
            f"{A}cluster.?.call.s1.*", f"{A}calls.list",
        ],
    ),
    "bridge-concierge": (
        [
            f"{A}session.*.s1.*.out", f"{A}session.*.s1.control", f"{A}agent.*.beat",
            f"{A}agent.*.claim.i1", f"{A}worker.*", f"{A}agent.*.reply", "$KV.antiphon-leases.*.s1",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.*", "$JS.API.STREAM.INFO.KV_antiphon-leases",
            "$JS.API.CONSUMER.CREATE.KV_antiphon-leases.c.$KV.antiphon-leases.*.s1",
            "$JS.API.CONSUMER.CREATE.antiphon-recent-audio.c.antiphon.v1.session.*.s1.audio.in",
        ],
        [
            f"{A}session.*.s1.*.in", f"{A}session.*.s1.event", f"{A}session.[*].[*].audio.in",
            f"{A}session.[*].[*].event", f"{A}agent.*.claim", f"{A}agent.*.claim.i1", f"{A}agent.[*].claim",
            f"{A}agent.*.beat", f"{A}agent.*.announce", "_INBOX_reply.*", f"{A}drain.antiphon-agent.x",
        ],
    ),
    "worker": ([], [f"{A}worker.*", f"{A}drain.antiphon-worker.x"]),
    "operator": ([f"{A}relay.*.stats", f"{A}call.s1.hang_up", f"{A}calls.list", f"{A}drain.antiphon-*.x"], [
        f"{A}agent.*.announce",
        f"{A}transceiver.?.1.announce", f"{A}relay.*.announce", f"{A}agent.*.beat", f"{A}session.*.s1.event",
        f"{A}session.[*].[*].event",
    ]),
    "recorder": ([], [
        f"{A}session.*.s1.audio.*", f"{A}session.*.s1.data.*", f"{A}session.*.s1.event", f"{A}session.[*].[*].event",
        f"{A}session.[*].[*].audio.in", f"{A}timeline.s1", f"{A}ended.s1",
    ]),
    "text_agent-words": ([f"{A}agent.words.announce", "_INBOX_reply.words.x.y"], [f"{A}agent.words.reply"]),
    "agent-echo": (
        [
            f"{A}session.echo.s1.*.out", f"{A}session.echo.s1.control", f"{A}agent.echo.beat",
            "$KV.antiphon-leases.echo.s1", "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.storage",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.echo.s1",
            "$JS.API.CONSUMER.CREATE.KV_antiphon-leases.c.$KV.antiphon-leases.echo.s1",
            "$JS.API.CONSUMER.CREATE.antiphon-recent-audio.c.antiphon.v1.session.echo.s1.audio.in",
        ],
        [
            f"{A}session.echo.s1.*.in", f"{A}session.echo.s1.event", f"{A}agent.echo.claim", f"{A}agent.echo.claim.i1",
            f"{A}agent.echo.beat", f"{A}drain.antiphon-agent.x",
        ],
    ),
    "shadow-ear": (
        [
            f"{A}agent.ear.beat", "$KV.antiphon-leases.ear.s1",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.storage",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.ear.s1",
            "$JS.API.DIRECT.GET.KV_antiphon-leases.$KV.antiphon-leases.echo.s1",
            "$JS.API.CONSUMER.CREATE.KV_antiphon-leases.c.$KV.antiphon-leases.ear.s1",
            "$JS.API.CONSUMER.CREATE.KV_antiphon-leases.c.$KV.antiphon-leases.echo.s1",
            "$JS.API.CONSUMER.CREATE.antiphon-recent-audio.c.antiphon.v1.session.echo.s1.audio.in",
        ],
        [
            f"{A}session.echo.s1.*.in", f"{A}session.echo.s1.event", f"{A}agent.ear.beat",
            f"{A}drain.antiphon-agent.x",
        ],
    ),
    "hub_relay-eu": (
        [
            "$KV.antiphon-numbers.ingress.1", "$JS.API.DIRECT.GET.KV_antiphon-numbers.$KV.*",
            "$JS.API.STREAM.INFO.KV_antiphon-numbers",
        ],
        [],
    ),
    "hub_transceiver-eu": (
        [
            "$KV.antiphon-numbers.cluster.1", "$JS.API.DIRECT.GET.KV_antiphon-numbers.$KV.*",
            "$JS.API.STREAM.INFO.KV_antiphon-numbers",
            *(
                subject.format(f"antiphon-copy-leases-{number}")
                for number in (1, 2, 3, 4, 5)
                for subject in (
                    "$KV.{0}.*", "$JS.API.DIRECT.GET.KV_{0}.$KV.*", "$JS.API.CONSUMER.CREATE.KV_{0}.c.$KV.*"
                )
            ),
        ],
        [],
    ),
}  # fmt: skip


REGISTER: Final = {
    role: f"_INBOX_{role}_register" for role in ("transceiver", "bridge", "signaling", "operator", "websocket")
}
ANSWERS: Final = {
    # title: inboxes of those that ask it
    "relay-mine": ["_INBOX_operator", REGISTER["operator"], REGISTER["signaling"], "_INBOX_relay_register"],
    "transceiver": [
        "_INBOX_signaling", "_INBOX_relay", "_INBOX_transceiver", "_INBOX_bridge", "_INBOX_operator", "_INBOX_agent.*",
        REGISTER["transceiver"], REGISTER["signaling"], REGISTER["operator"],
    ],
    "signaling": ["_INBOX_operator", REGISTER["operator"], REGISTER["signaling"]],
    "worker": [
        "_INBOX_bridge", "_INBOX_operator", REGISTER["bridge"], REGISTER["signaling"], "_INBOX_worker_register",
        REGISTER["operator"],
    ],
    "websocket": ["_INBOX_signaling", "_INBOX_bridge", "_INBOX_operator", "_INBOX_agent.*"],
    "bridge-concierge": [
        "_INBOX_transceiver", "_INBOX_bridge", "_INBOX_operator", "_INBOX_websocket", *REGISTER.values()
    ],
    "agent-echo": ["_INBOX_transceiver", "_INBOX_operator", "_INBOX_websocket", *REGISTER.values()],
    "shadow-ear": ["_INBOX_operator", *REGISTER.values()],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedNats]:
    with guarded_nats(tmp_path_factory.mktemp("nats"), WALKED) as running:
        yield running


def _allowed(subjects: list[str], patterns: list[str]) -> set[str]:
    return {each for each in subjects if any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns)}


async def _refused(server: GuardedNats, user: User, verb: str, subjects: list[str]) -> set[str]:
    """Those of the subjects that the server does not allow the user."""
    found: set[str] = set()
    for start in range(0, len(subjects), 50):  # a client remembers 64
        async with server.client(user) as client:
            for subject in subjects[start : start + 50]:
                if verb == "subscribe":
                    await client.subscribe(subject)
                else:
                    await client.publish(subject, b"x")
            await client.flush()
            found |= {subject for done, subject in client.refused if done == verb}
    return found


def test_the_walk_has_a_subject_of_each_row() -> None:
    walked = [each.split(".") for each in _subjects()]

    def is_walked(pattern: str) -> bool:
        parts = pattern.split(".")
        return any(
            len(each) == len(parts) and all(p.startswith("<") or p == got for p, got in zip(parts, each, strict=True))
            for each in walked
        )

    assert not [name for name, row in SUBJECTS.items() if not is_walked(row.pattern)]
    assert {user.role for user in ROLES_OF.values()} == set(ROLES) - {"leaf"}


@pytest.mark.parametrize("title", MAY)
async def test_a_credential_opens_what_the_table_says_and_nothing_else(server: GuardedNats, title: str) -> None:
    user, (publishes, subscribes) = ROLES_OF[title], MAY[title]
    inboxes = {*INBOXES.values(), *REGISTER.values(), "_INBOX_relay_register", "_INBOX_worker_register", "_INBOX"}
    own = {INBOXES[title], f"{INBOXES[title]}_register"}
    others = [f"{inbox}.x.y" for inbox in inboxes - own]
    said = [*_subjects(), *_stored(), *others, *(f"{inbox}.x.y" for inbox in own)]
    publishes = [*publishes, *(f"{inbox}.x.y" for inbox in ANSWERS.get(title, []))]
    assert set(said) - await _refused(server, user, "publish", said) == _allowed(said, publishes)
    heard = [*_subjects(), *WILD, *others]
    allowed = _allowed([each for each in heard if "*" not in each], subscribes)
    allowed |= {each for each in WILD if each.replace("*", "[*]") in subscribes}
    assert set(heard) - await _refused(server, user, "subscribe", heard) == allowed
    assert not await _refused(server, user, "subscribe", [f"{INBOXES[title]}.x.*"])


@pytest.mark.parametrize("role", ["setup", "hub_setup"])
async def test_setup_makes_stores_and_has_no_part_in_calls(server: GuardedNats, role: str) -> None:
    assert await _refused(server, User(role), "publish", _subjects()) == set(_subjects())
    assert await _refused(server, User(role), "subscribe", [*_subjects(), *WILD]) == {*_subjects(), *WILD}


async def test_a_stranger_gets_nothing(server: GuardedNats) -> None:
    for url in (server.url, server.url.replace("//", "//relay:relay@"), server.url.replace("//", "//token@")):
        with pytest.raises(nats.errors.AuthorizationError):
            await connection.connect_once(url, "stranger")


async def test_a_consumer_reads_no_lease_and_no_audio_that_its_request_does_not_name(server: GuardedNats) -> None:
    """The filter in the subject is what NATS allows by; one in the body must not widen it."""
    async with server.client(User("agent", "theirs")) as theirs:
        await theirs.jetstream().publish("$KV.antiphon-leases.theirs.s1", b"words of a caller")
    mine, other = "$KV.antiphon-leases.echo.s1", "$KV.antiphon-leases.theirs.s1"
    async with server.client(User("agent", "echo")) as echo:
        received: list[Msg] = []

        async def take(message: Msg) -> None:
            received.append(message)

        inbox = echo.new_inbox()
        await echo.subscribe(inbox, cb=take)
        for filters in (
            {"filter_subject": other},
            {"filter_subjects": [mine, other]},
            {"filter_subjects": [other]},
            {},
        ):
            config = {"name": "c", "deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none", **filters}
            request = f"$JS.API.CONSUMER.CREATE.KV_antiphon-leases.c.{mine}"
            body = json.dumps({"stream_name": "KV_antiphon-leases", "config": config}).encode()
            answer = json.loads((await echo.request(request, body, timeout=2)).data)
            assert "error" in answer or answer["num_pending"] == 0, (filters, answer)
        await echo.flush()
        assert not [message for message in received if b"words" in message.data]


async def test_no_store_speaks_for_a_client(server: GuardedNats) -> None:
    """NATS checks neither the reply of a read nor the target of a consumer; our clients drop what comes of it."""
    heard: list[bytes] = []

    async def take(message: Msg) -> None:
        heard.append(message.data)

    mine, target = "$KV.antiphon-leases.echo.s1", f"{A}agent.theirs.claim"
    async with server.client(User("agent", "theirs")) as theirs, server.client(User("agent", "echo")) as echo:
        await theirs.subscribe(target, cb=take)
        await theirs.flush()
        await echo.jetstream().publish(mine, b"forged")
        await echo.publish(f"$JS.API.DIRECT.GET.KV_antiphon-leases.{mine}", b"", reply=target)
        config = {"name": "d", "deliver_subject": target, "deliver_policy": "all", "ack_policy": "none"}
        config["filter_subject"] = mine
        body = json.dumps({"stream_name": "KV_antiphon-leases", "config": config}).encode()
        await echo.request(f"$JS.API.CONSUMER.CREATE.KV_antiphon-leases.d.{mine}", body, timeout=2)
        async with server.client(User("transceiver")) as transceiver:
            await transceiver.publish(target, b"genuine")
            await transceiver.flush()
        while b"genuine" not in heard:
            await theirs.flush()
        assert heard == [b"genuine"]


async def test_a_relay_can_answer_no_offer_and_stand_for_no_other_relay(server: GuardedNats) -> None:
    """What is left to a taken-over relay is to forward and to drop: fingerprints and addresses pass it by."""
    offer = f"{A}transceiver.0.1.open"
    async with server.client(User("relay", "mine")) as relay, server.client(User("signaling")) as signaling:
        await relay.subscribe(offer)
        await relay.subscribe("_INBOX_signaling.>")
        answering = relay.publish("_INBOX_signaling.guess", b"a fingerprint of the relay's own")
        await answering
        await relay.publish(f"{A}relay.theirs.announce", b"{}")
        await relay.flush()
        assert set(relay.refused) == {
            ("subscribe", offer),
            ("subscribe", "_INBOX_signaling.>"),
            ("publish", "_INBOX_signaling.guess"),
            ("publish", f"{A}relay.theirs.announce"),
        }
        with pytest.raises(nats.errors.NoRespondersError):
            await signaling.request(offer, b"{}", timeout=2)
