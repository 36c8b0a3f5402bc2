"""Which role may say and hear what on NATS: the one table that servers' configurations are written from.

Subjects come from `SUBJECTS`, by the name of their row. A role that is not in a row's `publisher` is never given it
(`tests/runtime/test_permissions.py`). docs/security.md says per role what a leaked credential opens.

No role has NATS's `allow_responses`: it lets a client publish anything to the reply subject of a message that it
received, and a client that may both publish and subscribe one subject sends itself such a message, with any reply. So a
role may publish to the inboxes of the roles that ask it, and answers of the services register have inboxes apart. Which
request an answer belongs to, only the token at the end of its inbox tells; it is random (`client.RandomTokens`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from antiphon.runtime.nats.access import AGENT_INBOXES, REPLY_INBOXES, Access
from antiphon.schemas import subjects
from antiphon.schemas.subjects import SUBJECTS

_API: Final = "$JS.API"
_PART = re.compile(r"<([a-z]+)>")


@dataclass(frozen=True)
class Permissions:
    """What one user may do. All else is refused by the server."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


@dataclass(frozen=True)
class User:
    """Who gets a credential: a role, and what narrows it. A value."""

    role: str
    name: str = ""
    """Of the relay, agent or shadow; of the bridge the name under which it takes calls; of a region at the hub."""
    cluster: int = 0
    """Of the transceiver."""
    of: str = ""
    """The agent that a shadow listens to."""
    clusters: tuple[int, ...] = ()
    """Of a region, which a leaf connects to the hub."""
    relays: tuple[str, ...] = ()
    """Likewise; empty: of any name, so that it may announce another region's relays too."""

    @property
    def title(self) -> str:
        """One word, unique among the users of a server: `relay-local`, `agent-echo`, `transceiver`."""
        if self.role == "transceiver" and self.cluster:
            return f"{self.role}-{self.cluster}"
        return f"{self.role}-{self.name}" if self.name else self.role


def permissions_of(user: User) -> Permissions:
    """What the user may do, its own inbox included. `KeyError` for a role that there is not."""
    found = ROLES[user.role](user)
    if user.role == "leaf":  # a server, which asks nothing itself
        return found
    access = Access(user.role, user.name)
    asks = any(each.startswith("$SRV.") for each in found.publish)
    inboxes = (access.inbox_prefix, access.register_inbox_prefix) if asks else (access.inbox_prefix,)
    return Permissions(found.publish, (*found.subscribe, *(f"{each}.>" for each in inboxes)))


# ---- parts of the rows ---------------------------------------------------------------------------------


def _on(row: str, **parts: str | int) -> str:
    """The subject of a row of `SUBJECTS`; parts that are not given are wildcards."""
    return _PART.sub(lambda match: str(parts.get(match[1], "*")), SUBJECTS[row].pattern)


def _copies(cluster: str | int) -> str:
    """Where copies of calls are sent to."""
    return _on("copy_store", cluster=cluster)


def _registered(service: str) -> tuple[str, ...]:
    """What an entry in the services register subscribes.

    Verb by verb: NATS takes a subscription to `$SRV.>` for one that `$SRV.*` allows, and delivers what all are asked.
    """
    return tuple(
        subject
        for verb in ("PING", "INFO", "STATS")
        for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{service}", f"$SRV.{verb}.{service}.*")
    )


def _asks(*services: str) -> tuple[str, ...]:
    return tuple(f"$SRV.PING.{service}" for service in services)


def _answers(*roles: str) -> tuple[str, ...]:
    """Publish into the inboxes of these roles."""
    return tuple(f"{AGENT_INBOXES}.*.>" if role == "agent" else f"{Access(role).inbox_prefix}.>" for role in roles)


def _is_found_by(*roles: str) -> tuple[str, ...]:
    """Answer these roles where they ask the services register, and in nothing else."""
    return tuple(f"{Access(role).register_inbox_prefix}.>" for role in roles)


def _puts(bucket: str, *keys: str) -> tuple[str, ...]:
    return tuple(f"$KV.{bucket}.{key}" for key in keys)


def _gets(bucket: str, *keys: str) -> tuple[str, ...]:
    """Read by key, and see whether the bucket is there."""
    return tuple(f"{_API}.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}" for key in keys)


def _reads_all(bucket: str) -> tuple[str, ...]:
    """Read by key, and learn the names of all keys."""
    return f"{_API}.STREAM.INFO.KV_{bucket}", *_gets(bucket, ">")


def _consumes(stream: str, only: str) -> tuple[str, ...]:
    """Make named consumers with this filter or a narrower one; they can read nothing else."""
    return (f"{_API}.CONSUMER.CREATE.{stream}.*.{only}",)


def _takes(stream: str, only: str) -> tuple[str, ...]:
    """Make consumers of this stream, pull from them and acknowledge: one of several that share the work."""
    return *_consumes(stream, only), f"{_API}.CONSUMER.MSG.NEXT.{stream}.*", f"$JS.ACK.{stream}.>"


_TRANSCEIVERS: Final = subjects.BUCKET_TRANSCEIVERS
_RELAYS: Final = subjects.BUCKET_RELAYS
_LEASES: Final = subjects.BUCKET_LEASES
_SESSIONS: Final = subjects.BUCKET_SESSIONS
_COPIES: Final = subjects.BUCKET_COPIES
_SLOTS: Final = subjects.BUCKET_SLOTS
_FLOWS: Final = subjects.BUCKET_FLOWS
_LIMITS: Final = subjects.BUCKET_LIMITS
_PREPARED: Final = subjects.BUCKET_PREPARED
_COPY_LEASES: Final = tuple(map(subjects.copy_lease_bucket, range(1, subjects.MAX_COPY_LEASE_BUCKETS + 1)))
_NUMBERS: Final = subjects.BUCKET_NUMBERS
_RECENT_AUDIO: Final = subjects.STREAM_RECENT_AUDIO
_OUT: Final = f"{subjects.PREFIX}.session.*.*.*.out"
"""`audio.out` and `data.out`, in the one subscription that transceivers make."""
_CALLS: Final = f"{subjects.PREFIX}.call.*.*"
"""Likewise all that signaling asks the owner of a call."""
_RECORDED: Final = (f"{subjects.PREFIX}.session.*.*.audio.*", f"{subjects.PREFIX}.session.*.*.data.*")
"""Likewise both voices, and the messages of both sides."""

_TELLS: Final = (_on("call_timeline"), _on("call_ended"), _on("webhook"))
"""What the owner of a call tells operators about it."""

_ASK_AGENTS: Final = ("transceiver", "bridge", "signaling", "operator", "websocket")
"""Roles that ask the register for agents."""


# ---- the rows ------------------------------------------------------------------------------------------


def _setup(_: User) -> Permissions:
    return Permissions(publish=(f"{_API}.>", *_puts(_LEASES, subjects.LEASE_STORAGE_KEY)))


def _relay(user: User) -> Permissions:
    own = user.name or "*"
    return Permissions(
        publish=(
            _on("relay_announce", name=own),
            _on("flow_find"),
            *_asks("antiphon-relay"),  # its own `--check`
            *_answers("operator"),  # stats
            *_is_found_by("relay", "signaling", "operator"),
            *_puts(_RELAYS, own),
            *_reads_all(_RELAYS),
            *_gets(_FLOWS, ">"),
            *_reads_all(_TRANSCEIVERS),
        ),
        subscribe=(
            _on("relay_announce"),  # those of other clusters, to send to and to accept from
            _on("relay_stats", name=own),
            _on("transceiver_announce"),
            _on("cluster_moved"),
            _on("process_drain", service="antiphon-relay"),
            *_registered("antiphon-relay"),
        ),
    )


def _transceiver(user: User) -> Permissions:
    own = user.cluster
    return Permissions(
        publish=(
            _on("transceiver_announce", cluster=own),
            _on("transceiver_take_over", cluster=own),
            _on("transceiver_adopt", cluster=own),
            _on("cluster_moved"),  # signed: a relay believes the lost cluster's key only
            _copies("*"),  # to the second region
            _on("agent_beat"),  # for the instance of a lost region, which sends none itself
            _on("agent_claim"),
            _on("agent_claim_of"),
            _on("audio_in"),
            _on("data_in"),
            _on("session_event"),
            *_TELLS,
            *_asks("antiphon-agent", "antiphon-transceiver"),
            *_answers("signaling", "relay", "transceiver", "bridge", "agent", "operator"),
            *_is_found_by("transceiver", "signaling", "operator"),
            *_puts(_TRANSCEIVERS, f"{own}.*"),
            *_puts(_SLOTS, f"{own}.*"),
            *_puts(_SESSIONS, f"{own}.>"),
            *_puts(_COPIES, ">"),
            *_puts(_LEASES, "*.*"),  # of an adopted call: its agent's, as it came with the copy
            *_puts(_FLOWS, "*"),
            *_puts(_PREPARED, f"{own}.*"),
            *_gets(_PREPARED, f"{own}.*"),
            *_puts(_LIMITS, "prepared.*"),  # that a prepared call of a client secret was used
            *_gets(_SLOTS, ">"),
            *_reads_all(_SESSIONS),
            *_reads_all(_COPIES),
            *_gets(_LEASES, ">"),
            *_gets(_FLOWS, ">"),
            *_reads_all(_TRANSCEIVERS),
            *_reads_all(_RELAYS),
        ),
        subscribe=(
            _on("transceiver_announce"),
            _on("relay_announce"),
            _on("flow_find"),
            _on("transceiver_open", cluster=own),
            _on("transceiver_take_over", cluster=own),
            _on("transceiver_adopt", cluster=own),
            _on("cluster_call", cluster=own),
            _copies(own),
            _OUT,
            _on("session_control"),
            _CALLS,
            subjects.CALLS_LIST,
            _on("process_drain", service="antiphon-transceiver"),
            *_registered("antiphon-transceiver"),
        ),
    )


def _signaling(_: User) -> Permissions:
    return Permissions(
        publish=(
            _on("transceiver_open"),
            _on("call_attach"),
            _on("call_open"),
            _on("call_hang_up"),
            _on("call_transfer"),
            _on("call_status"),
            _on("cluster_call"),
            subjects.CALLS_LIST,
            _on("process_drain"),
            _on("data_in"),  # the side channel
            *_asks("antiphon-agent", "antiphon-transceiver", "antiphon-relay", "antiphon-signaling", "antiphon-worker"),
            "$SRV.STATS.antiphon-agent",  # the load of agents
            *_answers("operator"),  # the register, asked with the NATS command line
            *_is_found_by("signaling", "operator"),
            *_reads_all(_TRANSCEIVERS),
            *_reads_all(_RELAYS),
            *_consumes(subjects.STREAM_TIMELINES, _on("call_timeline")),
            *_consumes(subjects.STREAM_ENDED_CALLS, _on("call_ended")),
            *_takes(subjects.STREAM_WEBHOOKS, _on("webhook")),
            *_puts(_LIMITS, ">"),
            *_gets(_LIMITS, ">"),
            f"{_API}.STREAM.INFO.KV_{_LIMITS}",  # when it was made: NATS may have lost the counts
        ),
        subscribe=(
            f"$KV.{_LIMITS}.failed.*",  # failed authentications at other instances
            _on("transceiver_announce"),
            _on("relay_announce"),
            _on("data_out"),  # the side channel
            _on("session_event"),
            _on("process_drain", service="antiphon-signaling"),
            *_registered("antiphon-signaling"),
        ),
    )


def _websocket(_: User) -> Permissions:
    """Signaling as the owner of calls over WebSocket: of a transceiver, what concerns a session and its agent."""
    return Permissions(
        publish=(
            _on("agent_claim"),
            _on("agent_claim_of"),
            _on("audio_in"),
            _on("data_in"),
            _on("session_event"),
            *_TELLS,
            *_asks("antiphon-agent"),
            *_answers("signaling", "bridge", "agent", "operator"),
            *_gets(_LEASES, ">"),
        ),
        subscribe=(
            _on("cluster_call"),
            subjects.CALLS_LIST,
            _OUT,
            _on("session_control"),
            _CALLS,
        ),
    )


def _bridge(_: User) -> Permissions:
    return Permissions(
        publish=(
            _on("audio_out"),  # in sessions of all agents: apologies to the callers of dead ones
            _on("data_out"),
            _on("session_control"),
            _on("agent_beat"),  # it takes calls in the name of text agents too, and of those that files describe
            _on("agent_claim_of"),  # claims that it passes on
            _on("agent_reply"),
            _on("worker"),
            *_asks("antiphon-agent", "antiphon-worker"),
            *_answers("transceiver", "bridge", "operator", "websocket"),
            *_is_found_by(*_ASK_AGENTS),
            *_puts(_LEASES, "*.*"),
            *_reads_all(_LEASES),
            *_consumes(f"KV_{_LEASES}", f"$KV.{_LEASES}.*.*"),
            *_consumes(_RECENT_AUDIO, _on("audio_in")),
        ),
        subscribe=(
            _on("agent_claim"),
            _on("agent_claim_of"),
            _on("agent_beat"),
            _on("agent_announce"),
            f"{REPLY_INBOXES}.>",
            _on("audio_in"),
            _on("data_in"),
            _on("session_event"),
            _on("process_drain", service="antiphon-agent"),
            *_registered("antiphon-agent"),
        ),
    )


def _worker(_: User) -> Permissions:
    return Permissions(
        publish=(
            *_asks("antiphon-worker"),
            *_answers("bridge", "operator"),
            *_is_found_by("bridge", "worker", "signaling", "operator"),
        ),
        subscribe=(
            _on("worker"),
            _on("process_drain", service="antiphon-worker"),
            *_registered("antiphon-worker"),
        ),
    )


def _operator(_: User) -> Permissions:
    return Permissions(
        publish=(
            _on("relay_stats"),
            subjects.CALLS_LIST,
            _on("call_hang_up"),
            _on("process_drain"),
            *_consumes(subjects.STREAM_TIMELINES, _on("call_timeline")),
            *_consumes(subjects.STREAM_ENDED_CALLS, _on("call_ended")),
            "$SRV.*",
            "$SRV.*.*",
            "$SRV.*.*.*",
        ),
        subscribe=(
            _on("transceiver_announce"),
            _on("relay_announce"),
            _on("agent_announce"),
            _on("agent_beat"),
            _on("session_event"),
        ),
    )


def _recorder(_: User) -> Permissions:
    return Permissions(
        # Never `control`: a subscriber there makes ended calls look alive.
        subscribe=(*_RECORDED, _on("session_event"), _on("call_timeline"), _on("call_ended")),
    )


def _agent(user: User) -> Permissions:
    own = user.name
    return Permissions(
        publish=(
            _on("audio_out", agent=own),
            _on("data_out", agent=own),
            _on("session_control", agent=own),
            _on("agent_beat", name=own),
            *_answers("transceiver", "operator", "websocket"),
            *_is_found_by(*_ASK_AGENTS),
            *_own_leases(own),
            *_hears_recent(own),
        ),
        subscribe=(
            _on("agent_claim", name=own),
            _on("agent_claim_of", name=own),
            _on("agent_beat", name=own),
            _on("audio_in", agent=own),
            _on("data_in", agent=own),
            _on("session_event", agent=own),
            _on("process_drain", service="antiphon-agent"),
            *_registered("antiphon-agent"),
        ),
    )


def _text_agent(user: User) -> Permissions:
    """It sees no session: a bridge has the call, and asks for the words."""
    own = user.name
    return Permissions(
        publish=(
            _on("agent_announce", name=own),
            f"{REPLY_INBOXES}.{own}.>",
        ),
        subscribe=(_on("agent_reply", name=own),),
    )


def _shadow(user: User) -> Permissions:
    own, of = user.name, user.of
    return Permissions(
        publish=(
            _on("agent_beat", name=own),
            *_answers("operator"),
            *_is_found_by(*_ASK_AGENTS),
            *_own_leases(own),
            *_reads_leases(of),
            *_hears_recent(of),
        ),
        subscribe=(
            _on("agent_beat", name=own),
            _on("audio_in", agent=of),
            _on("data_in", agent=of),
            _on("session_event", agent=of),
            _on("process_drain", service="antiphon-agent"),
            *_registered("antiphon-agent"),
        ),
    )


def _own_leases(agent: str) -> tuple[str, ...]:
    return (*_puts(_LEASES, f"{agent}.*"), *_reads_leases(agent))


def _reads_leases(agent: str) -> tuple[str, ...]:
    return (
        *_gets(_LEASES, f"{agent}.*", subjects.LEASE_STORAGE_KEY),
        *_consumes(f"KV_{_LEASES}", f"$KV.{_LEASES}.{agent}.*"),
    )


def _hears_recent(agent: str) -> tuple[str, ...]:
    return _consumes(_RECENT_AUDIO, _on("audio_in", agent=agent))


# ---- at the hub ----------------------------------------------------------------------------------------


def _hub_setup(_: User) -> Permissions:
    return Permissions(publish=(f"{_API}.>",))


def _hub_relay(_: User) -> Permissions:
    return Permissions(publish=(*_puts(_NUMBERS, "ingress.*"), *_reads_all(_NUMBERS)))


def _hub_transceiver(_: User) -> Permissions:
    """The leases of all clusters: the next owner of a lost cluster's calls is in another one."""
    return Permissions(
        publish=(
            *_puts(_NUMBERS, "cluster.*"),
            *_reads_all(_NUMBERS),
            *(
                subject
                for register in _COPY_LEASES
                for subject in (
                    *_puts(register, ">"),
                    *_gets(register, ">"),
                    *_consumes(f"KV_{register}", f"$KV.{register}.>"),
                )
            ),
        )
    )


CROSSING_INBOXES: Final = ("signaling", "transceiver")
"""Roles that ask other regions. A region's inboxes are below its name, so the hub brings no answer to a third one."""


def _leaf(user: User) -> Permissions:
    """A region's server at the hub: it publishes what the region says to others, and subscribes what they say to it."""
    relays = user.relays or ("*",)
    return Permissions(
        publish=(
            *(_on("transceiver_announce", cluster=own) for own in user.clusters),
            *(_on("relay_announce", name=name) for name in relays),
            _on("cluster_moved"),
            _on("transceiver_open"),
            _on("cluster_call"),
            _copies("*"),
            *(f"{Access(role).inbox_prefix}.*.>" for role in CROSSING_INBOXES),
        ),
        subscribe=(
            _on("transceiver_announce"),
            _on("relay_announce"),
            _on("cluster_moved"),
            *(
                subject
                for own in user.clusters
                for subject in (_on("transceiver_open", cluster=own), _on("cluster_call", cluster=own), _copies(own))
            ),
            *(f"{Access(role, region=user.name).inbox_prefix}.>" for role in CROSSING_INBOXES),
        ),
    )


ROLES: Final[dict[str, Callable[[User], Permissions]]] = {
    "setup": _setup,
    "relay": _relay,
    "transceiver": _transceiver,
    "signaling": _signaling,
    "websocket": _websocket,
    "bridge": _bridge,
    "worker": _worker,
    "operator": _operator,
    "recorder": _recorder,
    "agent": _agent,
    "text_agent": _text_agent,
    "shadow": _shadow,
    "hub_setup": _hub_setup,
    "hub_relay": _hub_relay,
    "hub_transceiver": _hub_transceiver,
    "leaf": _leaf,
}
"""Role -> what a user of it may do."""
AT_HUB: Final = ("hub_setup", "hub_relay", "hub_transceiver", "leaf")
"""Roles of the hub's servers; all others are of a region's."""
NAMED: Final = ("relay", "bridge", "agent", "text_agent", "shadow", "hub_relay", "hub_transceiver", "leaf")
"""Roles whose users have names of their own."""
PUBLISHERS: Final[dict[str, tuple[str, ...]]] = {
    "relay": ("relay",),
    "transceiver": ("transceiver",),
    "signaling": ("signaling",),
    "websocket": ("websocket", "transceiver"),  # it does what one does for its sessions
    "bridge": ("inference bridge", "agent"),
    "operator": ("operator",),
    "agent": ("agent",),
    "text_agent": ("text agent",),
    "shadow": ("agent",),  # its beat
    "recorder": (),
    "worker": (),
    "setup": (),
    "hub_setup": (),
    "hub_relay": (),
    "hub_transceiver": (),
    "leaf": ("transceiver", "signaling", "relay"),
}
"""Role -> the names of its component in `Subject.publisher`."""
