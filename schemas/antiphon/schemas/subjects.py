"""Every subject and bucket name, built and parsed here only."""

from __future__ import annotations

import re
from typing import Final

from antiphon.schemas.errors import MalformedError

PREFIX: Final = "antiphon.v1"

BUCKET_TRANSCEIVERS: Final = "antiphon-transceivers"
"""`<cluster>.<slot>` -> TransceiverAnnouncement, TTL 5 s."""
BUCKET_RELAYS: Final = "antiphon-relays"
"""`<name>` -> RelayAnnouncement, TTL 5 s."""
BUCKET_FLOWS: Final = "antiphon-flows"
"""`flow_key` of a client -> FlowOwner, TTL a day; only where transceivers are told to keep it."""
BUCKET_SLOTS: Final = "antiphon-slots"
"""`<cluster>.<slot>` -> SlotClaim, kept: the last epoch of every slot."""
BUCKET_LEASES: Final = "antiphon-leases"
"""`<agent>.<session id>` -> Lease, TTL 10 min: which agent instance holds a session, and what another needs of it."""

BUCKET_SESSIONS: Final = "antiphon-sessions"
"""`<cluster>.<slot>.<epoch>.<session id>` -> encrypted checkpoint; `...<epoch>.seat` -> who took them over."""

FLOW_FIND: Final = f"{PREFIX}.flow.find"
ANY_TRANSCEIVER_ANNOUNCE: Final = f"{PREFIX}.transceiver.*.*.announce"
ANY_RELAY_ANNOUNCE: Final = f"{PREFIX}.relay.*.announce"
ANY_AGENT_BEAT: Final = f"{PREFIX}.agent.*.beat"
ANY_CALL_STATUS: Final = f"{PREFIX}.status.*"
ANY_AUDIO_IN: Final = f"{PREFIX}.session.*.audio.in"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSION_SUBJECT = re.compile(r"antiphon\.v1\.session\.([A-Za-z0-9_-]{1,64})\.([a-z]+(?:\.[a-z]+)?)")


def _token(kind: str, text: str) -> str:
    """A name that may stand in a subject: no dots, wildcards or blanks."""
    if not _TOKEN.fullmatch(text):
        raise MalformedError(f"{kind} {text!r:.80} may hold letters, digits, - and _ only, at most 64 of them")
    return text


def _number(kind: str, value: int, bits: int) -> str:
    if not 0 <= value < 1 << bits:
        raise MalformedError(f"{kind} {value} is out of range: it has {bits} bits")
    return str(value)


def flow_key(header: bytes) -> str:
    """The key of a client in `BUCKET_FLOWS`: its tunnel header in hex."""
    return header.hex()


def slot_key(cluster: int, slot: int) -> str:
    """The key of a slot in `BUCKET_TRANSCEIVERS` and `BUCKET_SLOTS`."""
    return f"{_number('cluster', cluster, 12)}.{_number('slot', slot, 16)}"


def transceiver_announce(cluster: int, slot: int) -> str:
    return f"{PREFIX}.transceiver.{slot_key(cluster, slot)}.announce"


def transceiver_open(cluster: int, slot: int) -> str:
    return f"{PREFIX}.transceiver.{slot_key(cluster, slot)}.open"


def transceiver_take_over(cluster: int, slot: int) -> str:
    """Request/reply: a transceiver that ends asks another one to go on with its sessions, `TakeOver`."""
    return f"{PREFIX}.transceiver.{slot_key(cluster, slot)}.take_over"


def transceiver_adopt(cluster: int, slot: int) -> str:
    """Request/reply: go on with some sessions of a seat that the asking transceiver has taken over, `Adopt`."""
    return f"{PREFIX}.transceiver.{slot_key(cluster, slot)}.adopt"


def seat_prefix(cluster: int, slot: int, epoch: int) -> str:
    """What the keys of one transceiver's sessions in `BUCKET_SESSIONS` begin with."""
    return f"{slot_key(cluster, slot)}.{_number('epoch', epoch, 16)}"


def seat_key(cluster: int, slot: int, epoch: int) -> str:
    return f"{seat_prefix(cluster, slot, epoch)}.seat"


def checkpoint_key(cluster: int, slot: int, epoch: int, session_id: str) -> str:
    return f"{seat_prefix(cluster, slot, epoch)}.{_token('session id', session_id)}"


def relay_announce(name: str) -> str:
    return f"{PREFIX}.relay.{_token('relay name', name)}.announce"


def relay_stats(name: str) -> str:
    """Request/reply: a relay's counters, `RelayStatistics`."""
    return f"{PREFIX}.relay.{_token('relay name', name)}.stats"


def agent_claim(name: str) -> str:
    return f"{PREFIX}.agent.{_token('agent name', name)}.claim"


def agent_beat(name: str) -> str:
    """Each instance of an agent says here that it lives, `AgentBeat`."""
    return f"{PREFIX}.agent.{_token('agent name', name)}.beat"


def parse_agent_beat(subject: str) -> str:
    """`antiphon.v1.agent.<name>.beat` -> `<name>`."""
    name = subject.removeprefix(f"{PREFIX}.agent.").removesuffix(".beat")
    if subject != f"{PREFIX}.agent.{name}.beat" or not _TOKEN.fullmatch(name):
        raise MalformedError(f"{subject!r:.120} is no subject of an agent's beat")
    return name


def lease_key(agent: str, session_id: str) -> str:
    """The key of a lease in `BUCKET_LEASES`."""
    return f"{_token('agent name', agent)}.{_token('session id', session_id)}"


def lease_keys(agent: str) -> str:
    """Wildcard: all leases of an agent."""
    return f"{_token('agent name', agent)}.*"


def worker(kind: str) -> str:
    """Request/reply, replies may stream: a model worker of a kind, `stt`, `tts` or `llm`; msgpack."""
    return f"{PREFIX}.worker.{_token('worker kind', kind)}"


def agent_claim_of(name: str, instance: str) -> str:
    """Request/reply: a claim for one instance of an agent, whose name is its register metadata `instance`."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", instance)[:64]
    return f"{agent_claim(name)}.{_token('instance', plain)}"


def audio_in(session_id: str) -> str:
    """Caller to agent, PCM frames."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.audio.in"


def audio_out(session_id: str) -> str:
    """Agent to caller, PCM frames."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.audio.out"


def session_out(session_id: str) -> str:
    """Wildcard: `audio.out` and `data.out` of a session, in one subscription."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.*.out"


def session_all(session_id: str | None = None) -> str:
    """Wildcard: all that is said on a session, or on every session, for who looks on."""
    return f"{PREFIX}.session.{'*' if session_id is None else _token('session id', session_id)}.>"


def session_event(session_id: str) -> str:
    return f"{PREFIX}.session.{_token('session id', session_id)}.event"


def session_control(session_id: str) -> str:
    """Request/reply: the transceiver answers every control message."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.control"


def session_open(session_id: str) -> str:
    """Request/reply to the owner of a running session: another offer of its client, `OpenRequest` to `OpenReply`."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.open"


def call_status(session_id: str) -> str:
    """Request/reply: `CallStatus`, of the one transceiver that knows the session; others keep silent."""
    return f"{PREFIX}.status.{_token('session id', session_id)}"


def parse_call_status(subject: str) -> str:
    """`antiphon.v1.status.<id>` -> `<id>`."""
    session_id = subject.removeprefix(f"{PREFIX}.status.")
    if subject != f"{PREFIX}.status.{session_id}" or not _TOKEN.fullmatch(session_id):
        raise MalformedError(f"{subject!r:.120} is no subject of a call's status")
    return session_id


def data_in(session_id: str) -> str:
    """Caller to agent, data-channel messages."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.data.in"


def data_out(session_id: str) -> str:
    """Agent to caller, data-channel messages."""
    return f"{PREFIX}.session.{_token('session id', session_id)}.data.out"


def parse_session_subject(subject: str) -> tuple[str, str]:
    """`antiphon.v1.session.<id>.audio.in` -> (`<id>`, `audio.in`)."""
    match = _SESSION_SUBJECT.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no session subject")
    return match[1], match[2]
