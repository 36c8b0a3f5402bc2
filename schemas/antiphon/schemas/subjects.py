"""Every subject, bucket and key on NATS: their names, built and parsed here only.

`SUBJECTS` is the contract: the pattern of each subject, which component publishes on it, and what a message holds. The
functions below build subjects from it, wildcards and parsers derive from it, and `antiphon schema export` writes it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from antiphon.schemas.errors import MalformedError

PREFIX: Final = "antiphon.v1"

BUCKET_TRANSCEIVERS: Final = "antiphon-transceivers"
"""`<cluster>.<slot>` -> TransceiverAnnouncement, TTL 5 s."""
BUCKET_RELAYS: Final = "antiphon-relays"
"""`<name>` -> RelayAnnouncement, TTL 5 s."""
BUCKET_FLOWS: Final = "antiphon-flows"
"""`flow_key` of a client -> FlowOwner, TTL a day; only where the transceivers are set to keep it."""
BUCKET_SLOTS: Final = "antiphon-slots"
"""`<cluster>.<slot>` -> SlotClaim, kept: the last epoch of every slot."""
BUCKET_LEASES: Final = "antiphon-leases"
"""`<agent>.<session id>` -> Lease, TTL 10 min: which agent instance has a session, and what another one needs of it."""
LEASE_STORAGE_KEY: Final = "storage"
"""In `BUCKET_LEASES`, written by `antiphon setup`: `memory` or `file`, where that bucket is kept."""
BUCKET_SESSIONS: Final = "antiphon-sessions"
"""`<cluster>.<slot>.<epoch>.<session id>` -> encrypted checkpoint; `...<epoch>.seat` -> the process that has them."""
BUCKET_COPIES: Final = "antiphon-copies"
"""`<cluster>.<slot>.<epoch>.<session id>` -> StoreCopy: calls of other clusters; this region is their second."""
BUCKET_LIMITS: Final = "antiphon-limits"
"""`used.<secret>`, `rate.<kind>.<hash>`, `failed.<hash>` -> counts of signaling, TTL 7500 s."""
BUCKET_PREPARED: Final = "antiphon-prepared"
"""Calls that are answered and not made yet."""
BUCKET_COPY_LEASES: Final = "antiphon-copy-leases"
"""Of the hub, with `-1`, `-2` ... behind it (`copy_lease_bucket`), each on a server of its own: the registers of the
leases. `<cluster>.<slot>.<epoch>.<token>` -> LeaseRegister, TTL 7 days: who owns the calls with a copy."""
COPY_LEASE_TOKEN: Final = "token"
"""In each of them, written by the first process that finds none: changes when the bucket has lost what it held."""
MAX_COPY_LEASE_BUCKETS: Final = 5
BUCKET_NUMBERS: Final = "antiphon-numbers"
"""Of the hub. `ingress.<number>`, `cluster.<number>` -> who has the number, kept."""
STREAM_RECENT_AUDIO: Final = "antiphon-recent-audio"
"""The last seconds of every caller: a stream on `ANY_AUDIO_IN`."""
STREAM_TIMELINES: Final = "antiphon-timelines"
"""What happened in each call, in memory: a stream on `ANY_CALL_TIMELINE`."""
STREAM_ENDED_CALLS: Final = "antiphon-ended-calls"
"""The last 1,000 calls that have ended, in memory: a stream on `ANY_CALL_ENDED`."""
STREAM_WEBHOOKS: Final = "antiphon-webhooks"
"""Notices that are not delivered yet: a work queue on `ANY_WEBHOOK`, taken from by signaling."""


class Subject(NamedTuple):
    """One kind of subject. A row of `SUBJECTS`."""

    pattern: str
    """Parts in angle brackets stand for one token each: letters, digits, `-` and `_`, at most 64 of them."""
    publisher: str
    """The component that publishes or sends requests here."""
    message: str
    """Name of the message in `messages.MESSAGES`; `AudioFrame`, `msgpack` for what is no JSON, empty for no content."""
    reply: str = ""
    """Likewise, of the answer; empty: no request, nothing answers."""


_SESSION: Final = f"{PREFIX}.session.<agent>.<id>"
"""The agent's name stands in them, so that permissions of NATS can keep an agent to its own sessions."""
_CALL: Final = f"{PREFIX}.call.<id>"
"""From signaling to the transceiver that owns a call. No agent may use these."""
_OWNERS: Final = "transceiver, websocket"
_TRANSCEIVER: Final = f"{PREFIX}.transceiver.<cluster>.<slot>"

SUBJECTS: Final = {
    "transceiver_announce": Subject(f"{_TRANSCEIVER}.announce", "transceiver", "TransceiverAnnouncement"),
    "transceiver_open": Subject(f"{_TRANSCEIVER}.open", "signaling", "OpenRequest", "OpenReply"),
    "transceiver_take_over": Subject(f"{_TRANSCEIVER}.take_over", "transceiver", "TakeOver", "ControlReply"),
    "transceiver_adopt": Subject(f"{_TRANSCEIVER}.adopt", "transceiver", "Adopt", "ControlReply"),
    "cluster_moved": Subject(f"{PREFIX}.cluster.<cluster>.moved", "transceiver", "SlotMoved"),
    "copy_store": Subject(f"{PREFIX}.copy.<cluster>.store", "transceiver", "StoreCopy", "CopyReply"),
    "cluster_call": Subject(f"{PREFIX}.cluster.<cluster>.call.<id>.<kind>", "signaling", "OpenRequest", "OpenReply"),
    "relay_announce": Subject(f"{PREFIX}.relay.<name>.announce", "relay", "RelayAnnouncement"),
    "relay_stats": Subject(f"{PREFIX}.relay.<name>.stats", "operator", "", "RelayStatistics"),
    "agent_claim": Subject(f"{PREFIX}.agent.<name>.claim", "transceiver", "Claim", "ClaimReply"),
    "agent_claim_of": Subject(f"{PREFIX}.agent.<name>.claim.<instance>", "transceiver", "Claim", "ClaimReply"),
    "agent_beat": Subject(f"{PREFIX}.agent.<name>.beat", "agent, transceiver (adopted calls)", "AgentBeat"),
    "agent_announce": Subject(f"{PREFIX}.agent.<name>.announce", "text agent", "TextAgentAnnouncement"),
    "agent_reply": Subject(f"{PREFIX}.agent.<name>.reply", "inference bridge", "ReplyRequest", "ReplyPart"),
    "worker": Subject(f"{PREFIX}.worker.<kind>", "inference bridge", "msgpack", "msgpack"),
    "worker_llm": Subject(f"{PREFIX}.worker.llm", "inference bridge", "ReplyRequest", "ReplyPart"),
    "audio_in": Subject(f"{_SESSION}.audio.in", "transceiver", "AudioFrame"),
    "audio_out": Subject(f"{_SESSION}.audio.out", "agent", "AudioFrame"),
    "data_in": Subject(f"{_SESSION}.data.in", "transceiver, signaling (side channel)", "DataMessage"),
    "data_out": Subject(f"{_SESSION}.data.out", "agent", "DataMessage"),
    "session_event": Subject(f"{_SESSION}.event", "transceiver", "SessionEvent"),
    "session_control": Subject(f"{_SESSION}.control", "agent", "Control", "ControlReply"),
    "call_attach": Subject(f"{_CALL}.attach", "signaling", "Attach", "AttachReply"),
    "call_open": Subject(f"{_CALL}.open", "signaling", "OpenRequest", "OpenReply"),
    "call_hang_up": Subject(f"{_CALL}.hang_up", "signaling, operator", "HangUp", "ControlReply"),
    "call_transfer": Subject(f"{_CALL}.transfer", "signaling", "TransferCall", "ControlReply"),
    "call_status": Subject(f"{_CALL}.status", "signaling", "", "CallStatus"),
    "call_timeline": Subject(f"{PREFIX}.timeline.<id>", _OWNERS, "TimelineEntry"),
    "call_ended": Subject(f"{PREFIX}.ended.<id>", _OWNERS, "CallEnded"),
    "calls_list": Subject(f"{PREFIX}.calls.list", "signaling, operator", "ListCalls", "CallList"),
    "webhook": Subject(f"{PREFIX}.webhook.<kind>", _OWNERS, "Webhook"),
    "process_drain": Subject(f"{PREFIX}.drain.<service>.<id>", "signaling, operator", "Drain", "ControlReply"),
    "flow_find": Subject(f"{PREFIX}.flow.find", "relay", "FlowFind", "FlowOwner"),
}
"""Name -> subject. The function of the same name builds it. Those without parts are the constants `FLOW_FIND`,
`CALLS_LIST` and `WORKER_LLM`."""
CROSSES: Final = frozenset(
    {
        "transceiver_announce",
        "transceiver_open",
        "cluster_moved",
        "cluster_call",
        "copy_store",
        "relay_announce",
    }
)
"""The rows whose messages other regions receive. All others stay in the region: the connection between its server and
the hub refuses them."""

_PART = re.compile(r"<([a-z]+)>")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORMS: Final = {name: _PART.sub(r"{\1}", subject.pattern) for name, subject in SUBJECTS.items()}


def _any(name: str) -> str:
    """The wildcard for all subjects of this name."""
    return _PART.sub("*", SUBJECTS[name].pattern)


def _reader(name: str) -> re.Pattern[str]:
    """Matches the subjects of this name, with a group for each part."""
    return re.compile(_PART.sub(rf"({_TOKEN.pattern})", re.escape(SUBJECTS[name].pattern)))


FLOW_FIND: Final = SUBJECTS["flow_find"].pattern
ANY_TRANSCEIVER_ANNOUNCE: Final = _any("transceiver_announce")
ANY_RELAY_ANNOUNCE: Final = _any("relay_announce")
ANY_CLUSTER_MOVED: Final = _any("cluster_moved")
ANY_AGENT_BEAT: Final = _any("agent_beat")
ANY_AGENT_ANNOUNCE: Final = _any("agent_announce")
ANY_CALL_STATUS: Final = _any("call_status")
ANY_AUDIO_IN: Final = _any("audio_in")
ANY_CALL_TIMELINE: Final = _any("call_timeline")
ANY_CALL_ENDED: Final = _any("call_ended")
ANY_WEBHOOK: Final = _any("webhook")
CALLS_LIST: Final = SUBJECTS["calls_list"].pattern
WORKER_LLM: Final = SUBJECTS["worker_llm"].pattern
"""Request, with a stream of answers: one turn for any worker of the language model; also `worker("llm")`."""

_AGENT_BEAT: Final = _reader("agent_beat")
_AGENT_ANNOUNCE: Final = _reader("agent_announce")
_RELAY_ANNOUNCE: Final = _reader("relay_announce")
_OF_A_SESSION: Final = re.compile(
    rf"{re.escape(PREFIX)}\.session\.({_TOKEN.pattern})\.({_TOKEN.pattern})\."
    r"(audio\.in|audio\.out|data\.in|data\.out|event|control)"
)
_OF_A_CALL: Final = re.compile(rf"{re.escape(PREFIX)}\.call\.({_TOKEN.pattern})\.(attach|open|hang_up|transfer|status)")

_OF_A_CLUSTERS_CALL: Final = re.compile(
    rf"{re.escape(PREFIX)}\.cluster\.[0-9]{{1,4}}\.call\.({_TOKEN.pattern})\.(attach|open|hang_up|transfer|status)"
)


def _token(kind: str, text: str) -> str:
    """A name that a subject can hold: no dots, wildcards or blanks."""
    if not _TOKEN.fullmatch(text):
        raise MalformedError(f"{kind} {text!r:.80} may hold letters, digits, - and _ only, at most 64 of them")
    return text


def _number(kind: str, value: int, bits: int) -> str:
    if not 0 <= value < 1 << bits:
        raise MalformedError(f"{kind} {value} is out of range: it has {bits} bits")
    return str(value)


def _transceiver(name: str, cluster: int, slot: int) -> str:
    return _FORMS[name].format(cluster=_number("cluster", cluster, 12), slot=_number("slot", slot, 16))


def _relay(name: str, relay: str) -> str:
    return _FORMS[name].format(name=_token("relay name", relay))


def _session(name: str, agent: str, session_id: str) -> str:
    return _FORMS[name].format(agent=_token("agent name", agent), id=_token("session id", session_id))


def _call(name: str, session_id: str) -> str:
    return _FORMS[name].format(id=_token("session id", session_id))


# ---- transceivers and relays ---------------------------------------------------------------------------


def transceiver_announce(cluster: int, slot: int) -> str:
    """Each second, and on change."""
    return _transceiver("transceiver_announce", cluster, slot)


def transceiver_announce_of(cluster: int) -> str:
    """Wildcard: the announcements of one cluster's transceivers."""
    return _FORMS["transceiver_announce"].format(cluster=_number("cluster", cluster, 12), slot="*")


def transceiver_open(cluster: int, slot: int) -> str:
    """Request/reply: open a session."""
    return _transceiver("transceiver_open", cluster, slot)


def transceiver_take_over(cluster: int, slot: int) -> str:
    """Request/reply: a transceiver that stops asks another one to continue its sessions."""
    return _transceiver("transceiver_take_over", cluster, slot)


def transceiver_adopt(cluster: int, slot: int) -> str:
    """Request/reply: continue some sessions of a slot that the asking transceiver has taken over."""
    return _transceiver("transceiver_adopt", cluster, slot)


def cluster_moved(cluster: int) -> str:
    """Another cluster goes on with sessions of this one, which is lost."""
    return _FORMS["cluster_moved"].format(cluster=_number("cluster", cluster, 12))


def copy_store(cluster: int) -> str:
    """Request/reply: transceivers of this cluster store a copy of a call of another cluster."""
    return _FORMS["copy_store"].format(cluster=_number("cluster", cluster, 12))


def cluster_call(cluster: int, session_id: str, kind: str) -> str:
    """Request/reply from another region: the `<kind>` of `call_<kind>`, to all transceivers of a cluster.

    Only the one that knows the call answers. The messages are those of `call_<kind>`.
    """
    number, call = _number("cluster", cluster, 12), _token("session id", session_id)
    return _FORMS["cluster_call"].format(cluster=number, id=call, kind=_token("kind", kind))


def cluster_calls(cluster: int) -> str:
    """Wildcard: all that other regions ask about calls of a cluster."""
    return f"{PREFIX}.cluster.{_number('cluster', cluster, 12)}.call.*.*"


def relay_announce(name: str) -> str:
    """Each second, and on change."""
    return _relay("relay_announce", name)


def parse_relay_announce(subject: str) -> str:
    """`antiphon.v1.relay.<name>.announce` -> `<name>`: NATS lets each relay announce under its own name only."""
    match = _RELAY_ANNOUNCE.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no subject of a relay's announcement")
    return match[1]


def relay_stats(name: str) -> str:
    """Request/reply: a relay's counters."""
    return _relay("relay_stats", name)


# ---- agents and model workers --------------------------------------------------------------------------


def agent_claim(name: str) -> str:
    """Request/reply: a claim; NATS gives it to one of the agent's queue group."""
    return _FORMS["agent_claim"].format(name=_token("agent name", name))


def agent_claim_of(name: str, instance: str) -> str:
    """Request/reply: a claim for one instance of an agent, whose name is its register metadata `instance`."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", instance)[:64]
    return _FORMS["agent_claim_of"].format(name=_token("agent name", name), instance=_token("instance", plain))


def agent_beat(name: str) -> str:
    """The beats of all instances of an agent."""
    return _FORMS["agent_beat"].format(name=_token("agent name", name))


def parse_agent_beat(subject: str) -> str:
    """`antiphon.v1.agent.<name>.beat` -> `<name>`."""
    match = _AGENT_BEAT.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no subject of an agent's beat")
    return match[1]


def agent_announce(name: str) -> str:
    """The announcements of all instances of a text agent."""
    return _FORMS["agent_announce"].format(name=_token("agent name", name))


def parse_agent_announce(subject: str) -> str:
    """`antiphon.v1.agent.<name>.announce` -> `<name>`."""
    match = _AGENT_ANNOUNCE.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no subject of a text agent's announcement")
    return match[1]


def agent_reply(name: str) -> str:
    """Request, with a stream of answers: one turn for any instance of a text agent's queue group."""
    return _FORMS["agent_reply"].format(name=_token("agent name", name))


def worker(kind: str) -> str:
    """Request/reply, replies may stream: a model worker of a kind, `stt`, `tts` or `llm`.

    Speech is in msgpack; a language model's worker is asked as a text agent is (`worker_llm`).
    """
    return _FORMS["worker"].format(kind=_token("worker kind", kind))


# ---- sessions ------------------------------------------------------------------------------------------


class SessionSubject(NamedTuple):
    """What a session's subject says."""

    agent: str
    """The agent that has the session, or that a claim asks to take it."""
    session_id: str
    """`rtc_` and 24 letters and digits."""
    kind: str
    """`audio.in`, `audio.out`, `data.in`, `data.out`, `event` or `control`."""


def audio_in(agent: str, session_id: str) -> str:
    """Caller to agent, PCM frames."""
    return _session("audio_in", agent, session_id)


def audio_out(agent: str, session_id: str) -> str:
    """Agent to caller, PCM frames."""
    return _session("audio_out", agent, session_id)


def data_in(agent: str, session_id: str) -> str:
    """Caller to agent, data-channel messages."""
    return _session("data_in", agent, session_id)


def data_out(agent: str, session_id: str) -> str:
    """Agent to caller, data-channel messages."""
    return _session("data_out", agent, session_id)


def session_event(agent: str, session_id: str) -> str:
    """What happens to the session."""
    return _session("session_event", agent, session_id)


def session_control(agent: str, session_id: str) -> str:
    """Request/reply: the transceiver answers every control message."""
    return _session("session_control", agent, session_id)


def session_out(agent: str, session_id: str) -> str:
    """Wildcard: `audio.out` and `data.out` of a session, in one subscription."""
    return f"{PREFIX}.session.{_token('agent name', agent)}.{_token('session id', session_id)}.*.out"


def data_out_of_any(session_id: str) -> str:
    """Wildcard: `data.out` of a session, whichever agent it is with. Another agent may publish here as well."""
    return f"{PREFIX}.session.*.{_token('session id', session_id)}.data.out"


def session_event_of_any(session_id: str) -> str:
    """Wildcard: the events of a session, whichever agent it is with."""
    return f"{PREFIX}.session.*.{_token('session id', session_id)}.event"


def session_observed(agent: str | None = None, session_id: str | None = None) -> tuple[str, ...]:
    """Wildcards: what a recorder subscribes to. Not `control`, where a subscriber makes ended calls look alive."""
    every = session_all(agent, session_id).removesuffix(">")
    return f"{every}audio.*", f"{every}data.*", f"{every}event"


def session_all(agent: str | None = None, session_id: str | None = None) -> str:
    """Wildcard: all subjects of a session, of an agent's sessions, or of every session."""
    of = "*" if agent is None else _token("agent name", agent)
    return f"{PREFIX}.session.{of}.{'*' if session_id is None else _token('session id', session_id)}.>"


def parse_session_subject(subject: str) -> SessionSubject:
    """`antiphon.v1.session.<agent>.<id>.audio.in` -> (`<agent>`, `<id>`, `audio.in`)."""
    match = _OF_A_SESSION.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no session subject")
    return SessionSubject(match[1], match[2], match[3])


# ---- calls: signaling asks the transceiver that owns one --------------------------------------------------


class CallSubject(NamedTuple):
    """What a call's subject says."""

    session_id: str
    """`rtc_` and 24 letters and digits."""
    kind: str
    """`attach`, `open`, `hang_up`, `transfer` or `status`."""


def call_attach(session_id: str) -> str:
    """Request/reply to the owner of a call: which agent has it, for a side channel."""
    return _call("call_attach", session_id)


def call_open(session_id: str) -> str:
    """Request/reply to the owner of a running session: another offer of its client."""
    return _call("call_open", session_id)


def call_hang_up(session_id: str) -> str:
    """Request/reply to the owner of a call: end it."""
    return _call("call_hang_up", session_id)


def call_transfer(session_id: str) -> str:
    """Request/reply to the owner of a call: give it to another agent."""
    return _call("call_transfer", session_id)


def call_status(session_id: str) -> str:
    """Request/reply: only the transceiver that knows the session answers."""
    return _call("call_status", session_id)


def call_all(session_id: str) -> str:
    """Wildcard: all subjects of a call, for its owner."""
    return f"{PREFIX}.call.{_token('session id', session_id)}.*"


def parse_call_subject(subject: str) -> CallSubject:
    """`antiphon.v1.call.<id>.status`, or the same of a cluster's call -> (`<id>`, `status`)."""
    match = _OF_A_CALL.fullmatch(subject) or _OF_A_CLUSTERS_CALL.fullmatch(subject)
    if match is None:
        raise MalformedError(f"{subject!r:.120} is no subject of a call")
    return CallSubject(match[1], match[2])


# ---- calls and processes, for operators ------------------------------------------------------------------


def call_timeline(session_id: str) -> str:
    """What happened in a call: entries of its time line."""
    return _call("call_timeline", session_id)


def call_ended(session_id: str) -> str:
    """A call has ended; once per call."""
    return _call("call_ended", session_id)


def webhook(kind: str) -> str:
    """A notice for the operator's systems: `started`, `ended` or `failed`."""
    return _FORMS["webhook"].format(kind=_token("kind of webhook", kind))


def process_drain(service: str, instance: str) -> str:
    """Request/reply to one process, by its service and its id in the register: stop as on SIGTERM."""
    return _FORMS["process_drain"].format(service=_token("service", service), id=_token("instance", instance))


# ---- keys of buckets -----------------------------------------------------------------------------------


def flow_key(header: bytes) -> str:
    """The key of a client in `BUCKET_FLOWS`: its tunnel header in hex."""
    return header.hex()


def slot_key(cluster: int, slot: int) -> str:
    """The key of a slot in `BUCKET_TRANSCEIVERS` and `BUCKET_SLOTS`."""
    return f"{_number('cluster', cluster, 12)}.{_number('slot', slot, 16)}"


def ingress_key(number: int) -> str:
    """The key of an ingress number in `BUCKET_NUMBERS`."""
    return f"ingress.{_number('ingress', number, 16)}"


def checkpoint_prefix(cluster: int, slot: int, epoch: int) -> str:
    """The first part of all keys of one transceiver's sessions in `BUCKET_SESSIONS`."""
    return f"{slot_key(cluster, slot)}.{_number('epoch', epoch, 16)}"


def endpoint_claim_key(cluster: int, slot: int, epoch: int) -> str:
    """The key in `BUCKET_SESSIONS` that names the process which took a transceiver's sessions over."""
    return f"{checkpoint_prefix(cluster, slot, epoch)}.seat"


def checkpoint_key(cluster: int, slot: int, epoch: int, session_id: str) -> str:
    """The key of a session's checkpoint in `BUCKET_SESSIONS`."""
    return f"{checkpoint_prefix(cluster, slot, epoch)}.{_token('session id', session_id)}"


def prepared_key(cluster: int, session_id: str) -> str:
    """The key of a prepared call in `BUCKET_PREPARED`."""
    return f"{_number('cluster', cluster, 12)}.{_token('session id', session_id)}"


def prepared_key_of(cluster: int, holder: str) -> str:
    """The key in `BUCKET_PREPARED` of the one prepared call that a holder may have."""
    return f"{_number('cluster', cluster, 12)}.of-{hashlib.sha256(holder.encode()).hexdigest()[:32]}"


def prepared_mark(session_id: str) -> str:
    """The key in `BUCKET_LIMITS` that says that a prepared call with a counted credential was used."""
    return f"prepared.{_token('session id', session_id)}"


INGRESS_KEYS: Final = "ingress.*"
"""Wildcard: all ingress numbers in `BUCKET_NUMBERS`."""


def copy_key(cluster: int, slot: int, epoch: int, session_id: str) -> str:
    """The key of a call's copy in `BUCKET_COPIES`."""
    return checkpoint_key(cluster, slot, epoch, session_id)


def copy_lease_key(cluster: int, slot: int, epoch: int) -> str:
    """The key of a transceiver's lease in the registers, without their token."""
    return checkpoint_prefix(cluster, slot, epoch)


def copy_lease_bucket(number: int) -> str:
    """The bucket of a register, from 1."""
    return f"{BUCKET_COPY_LEASES}-{number}"


def lease_key(agent: str, session_id: str) -> str:
    """The key of a lease in `BUCKET_LEASES`."""
    return f"{_token('agent name', agent)}.{_token('session id', session_id)}"


def lease_keys(agent: str) -> str:
    """Wildcard: all leases of an agent."""
    return f"{_token('agent name', agent)}.*"
