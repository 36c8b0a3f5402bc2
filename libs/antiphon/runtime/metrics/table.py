"""The metrics of every service: the one table that `Metrics`, docs/metrics.md, dashboards and alert rules rest on.

Names are public: a dashboard of an operator breaks when one changes. They are `antiphon_<part>_<what>_<unit>` in base
units, and counters end in `_total`. It is light to import: `Metrics` brings the client libraries, and only when needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

from antiphon.schemas.messages.calls import TURN_PARTS, TurnEnd
from antiphon.schemas.messages.events import EndReason

Kind = Literal["counter", "gauge", "histogram"]
Service = Literal["relay", "transceiver", "signaling", "inference-bridge", "worker", "agent"]
Values = tuple[str, ...] | int
"""Of a label: all that there are; or how many are kept, where they are not ours to choose. Others become `OTHER`."""

SERVICES: Final[tuple[Service, ...]] = get_args(Service)
OTHER: Final = "other"
"""In place of a label value that is none of the listed ones, or beyond the cap."""

_OWNERS: Final[tuple[Service, ...]] = ("transceiver", "signaling")
"""Own calls: a transceiver those over WebRTC, signaling those over WebSocket."""
_AGENTS: Final[tuple[Service, ...]] = ("inference-bridge", "agent")
_MODELS: Final[tuple[Service, ...]] = ("inference-bridge", "worker")

TURN_BUCKETS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""A part of a turn: some last milliseconds, a model seconds; 0.7 s is where callers begin to notice."""
_SETUP: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
_CALL: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_NETWORK: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0)
_GAP: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)
_SHARE: Final = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

_TRANSPORT: Final[dict[str, Values]] = {"transport": ("webrtc", "websocket")}
_MODEL: Final[dict[str, Values]] = {"model": 16}
MODEL_KINDS: Final = ("stt", "llm", "tts")
SETUP_STEPS: Final = (
    "offer",
    "place",
    "open",
    "claim",
    "ice",
    "dtls",
    "first_packet",
    "first_audio_in",
    "first_audio_out",
)
MAX_DROP_REASONS: Final = 48
"""Why a relay drops a datagram: docs/relay.md lists them, and more may come."""
DELAY_BUCKETS: Final = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""In a relay, what should last microseconds."""
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Datagrams; the last one is the largest batch."""


class Definition(NamedTuple):
    """One metric."""

    name: str
    kind: Kind
    help: str
    services: tuple[Service, ...]
    """Those that have it."""
    unit: str = ""
    """`seconds`, `bytes`, `ratio`; empty: a number of what `help` says."""
    labels: Mapping[str, Values] = MappingProxyType({})
    """By name, with their values."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram."""


def _counter(name: str, services: tuple[Service, ...], text: str, /, **labels: Values) -> Definition:
    return Definition(name, "counter", text, services, "bytes" if name.endswith("_bytes_total") else "", labels)


def _gauge(name: str, services: tuple[Service, ...], text: str, /, **labels: Values) -> Definition:
    return Definition(name, "gauge", text, services, _unit(name), labels)


def _histogram(
    name: str, services: tuple[Service, ...], text: str, buckets: tuple[float, ...], /, **labels: Values
) -> Definition:
    return Definition(name, "histogram", text, services, _unit(name), labels, buckets)


def _unit(name: str) -> str:
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "bytes", "ratio") else ""


_CALLS: Final = (
    _gauge(
        "antiphon_call_active",
        _OWNERS,
        "Calls that run, by state.",
        state=("connecting", "running", "suspect"),
        **_TRANSPORT,
    ),
    _counter("antiphon_call_started_total", _OWNERS, "Calls that began here.", **_TRANSPORT),
    _counter(
        "antiphon_call_ended_total",
        _OWNERS,
        "Calls that ended here, by reason.",
        reason=get_args(EndReason),
        **_TRANSPORT,
    ),
    _counter("antiphon_call_refused_total", _OWNERS, "Offers that became no call, by the code of the answer.", code=24),
    _counter(
        "antiphon_call_prepared_total",
        ("transceiver",),
        "Prepared calls: offers answered, and what became of the calls whose clients came.",
        result=("answered", "used", "refused"),
    ),
    _gauge("antiphon_call_waiting", ("transceiver",), "Prepared calls whose clients may still come."),
    _gauge(
        "antiphon_call_capacity",
        ("transceiver", "signaling", "inference-bridge", "agent"),
        "Calls that the process takes at once; 0 while it drains.",
    ),
    _histogram("antiphon_call_duration_seconds", _OWNERS, "From the offer to the end.", _CALL, **_TRANSPORT),
    _histogram("antiphon_call_setup_seconds", _OWNERS, "One step of a call's set-up.", _SETUP, step=SETUP_STEPS),
    _counter(
        "antiphon_call_takeovers_total",
        ("transceiver", "inference-bridge", "agent"),
        "Calls that go on here, from a process that was killed or that handed them over.",
        how=("killed", "handed_over", "other_region"),
    ),
    _histogram(
        "antiphon_call_takeover_gap_seconds",
        ("transceiver",),
        "Age of the stored state from which a call goes on: after a kill, speech of that time is lost.",
        _GAP,
        how=("killed", "handed_over", "other_region"),
    ),
    _counter(
        "antiphon_call_transfers_total", _OWNERS, "Transfers of a call to another agent.", result=("done", "failed")
    ),
    _counter(
        "antiphon_call_claims_total",
        (*_OWNERS, *_AGENTS),
        "Claims that were answered: an owner asks, an agent answers.",
        result=("accepted", "refused", "late", "passed_on"),
    ),
    _histogram("antiphon_call_claim_seconds", (*_OWNERS, *_AGENTS), "Until an agent has accepted.", _SETUP),
    _gauge("antiphon_call_agent_sessions", _AGENTS, "Calls that the agent has."),
)

_TURNS: Final = (
    _histogram(
        "antiphon_turn_latency_seconds",
        _OWNERS,
        "From the caller's last sample to the first sample of the answer: the parts that were measured.",
        TURN_BUCKETS,
    ),
    _histogram("antiphon_turn_part_seconds", _OWNERS, "One part of that time.", TURN_BUCKETS, part=TURN_PARTS),
    _counter("antiphon_turn_ended_total", _OWNERS, "Turns by how they ended.", end=get_args(TurnEnd)),
    _histogram(
        "antiphon_turn_interruption_seconds",
        _OWNERS,
        "Barge-in: from the agent's pause at the first sound until it gives up the rest of its speech.",
        _GAP,
        step=("decision",),
    ),
    _counter("antiphon_turn_interruptions_total", _OWNERS, "Flushes that cut speech off."),
)

REPLY_ENDS: Final = ("said", "failed", "cancelled", "busy")
_REPLIES: Final = (
    _gauge("antiphon_reply_active", ("agent",), "Answers that a text agent makes now."),
    _gauge("antiphon_reply_capacity", ("agent",), "Answers that it makes at once; 0 while it drains."),
    _counter(
        "antiphon_reply_ended_total",
        ("agent",),
        "Answers by how they ended: whole, by an error, because the bridge listens no more, refused at the capacity.",
        end=REPLY_ENDS,
    ),
    _histogram(
        "antiphon_reply_first_seconds", ("agent",), "From a request to the first part of the answer.", TURN_BUCKETS
    ),
)

_MEDIA: Final = (
    _counter(
        "antiphon_media_packets_total",
        ("transceiver",),
        "RTP packets of clients that were decrypted, and those sent to them.",
        direction=("received", "sent"),
    ),
    _counter("antiphon_media_packets_lost_total", ("transceiver",), "RTP packets of clients that did not arrive."),
    _counter(
        "antiphon_media_packets_late_total",
        ("transceiver",),
        "RTP packets of clients that arrived after their place was played.",
    ),
    _counter(
        "antiphon_media_packets_refused_total",
        ("transceiver",),
        "Packets of clients that were not used.",
        reason=("refused", "replayed", "records_refused", "over_budget", "checks_replayed", "events_dropped"),
    ),
    _counter(
        "antiphon_media_frames_concealed_total", ("transceiver",), "Frames of 20 ms that were made up for lost packets."
    ),
    _counter(
        "antiphon_media_frames_dropped_total",
        _OWNERS,
        "Frames of speech of 20 ms that came while the queue of a call was full.",
    ),
    _histogram(
        "antiphon_media_jitter_seconds",
        ("transceiver",),
        "Interarrival jitter of a client's packets, each time a call's statistics are published.",
        _NETWORK,
    ),
    _histogram("antiphon_media_round_trip_seconds", ("transceiver",), "To the client and back, likewise.", _NETWORK),
    _histogram(
        "antiphon_media_loss_ratio",
        ("transceiver",),
        "Share of packets lost between two such times.",
        _SHARE,
        direction=("from_client", "to_client"),
    ),
    _gauge(
        "antiphon_media_lateness_seconds",
        ("transceiver",),
        "By which frames are sent late: quantile over the last frames.",
        quantile=("0.5", "0.99"),
    ),
    _gauge(
        "antiphon_media_queue_seconds",
        ("transceiver",),
        "Speech that waits to be played: of all calls, and the longest.",
        of=("all", "longest"),
    ),
)

_CLIENTS: Final = (
    _counter(
        "antiphon_client_reports_total",
        _OWNERS,
        "Digests `antiphon.client_stats` that came.",
        protocol=("udp", "tcp", "unknown"),
    ),
    _histogram("antiphon_client_round_trip_seconds", _OWNERS, "As clients measure it.", _NETWORK),
    _histogram("antiphon_client_jitter_seconds", _OWNERS, "Of what clients receive.", _NETWORK),
    _histogram(
        "antiphon_client_jitter_buffer_seconds", _OWNERS, "Mean time of a sample in a client's jitter buffer.", _NETWORK
    ),
    _counter("antiphon_client_packets_received_total", _OWNERS, "By clients, as they report it."),
    _counter("antiphon_client_packets_lost_total", _OWNERS, "Likewise."),
    _counter("antiphon_client_samples_received_total", _OWNERS, "Likewise."),
    _counter("antiphon_client_samples_concealed_total", _OWNERS, "Of these, samples that clients made up."),
)

_TRANSCEIVER: Final = (
    _counter(
        "antiphon_transceiver_datagrams_dropped_total", ("transceiver",), "Datagrams that the kernel did not take."
    ),
    _counter(
        "antiphon_transceiver_datagrams_ignored_total",
        ("transceiver",),
        "Datagrams that reached no call.",
        reason=("untrusted", "malformed", "unknown_client", "refused_checks"),
    ),
    _gauge(
        "antiphon_transceiver_slots",
        ("transceiver",),
        "Slots that the process has: its own and those that it took over.",
    ),
    _gauge("antiphon_transceiver_relays", ("transceiver",), "Addresses of relays that it believes."),
)

_SIGNALING: Final = (
    _counter(
        "antiphon_signaling_requests_total",
        ("signaling",),
        "HTTP answers by route and status.",
        route=64,
        method=("GET", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD", "PUT"),
        status=32,
    ),
    _histogram("antiphon_signaling_request_seconds", ("signaling",), "Until the answer begins.", _SETUP, route=64),
    _gauge(
        "antiphon_signaling_transceivers",
        ("signaling",),
        "Transceivers that are announced.",
        state=("ready", "draining", "full"),
    ),
    _gauge("antiphon_signaling_relays", ("signaling",), "Relays that are announced."),
    _gauge("antiphon_signaling_websockets", ("signaling",), "Side channels that are open."),
    _counter(
        "antiphon_usage_calls_total",
        _OWNERS,
        "Calls per API key: `key` is the begin of its hash, `none` where no keys are set.",
        key=100,
    ),
    _counter("antiphon_usage_seconds_total", _OWNERS, "Seconds of the calls that ended, per API key.", key=100),
    _counter(
        "antiphon_webhook_deliveries_total",
        ("signaling",),
        "Webhooks by what became of them; `retried`: an attempt failed and is repeated.",
        result=("delivered", "retried", "failed"),
    ),
    _counter(
        "antiphon_webhook_dropped_total",
        _OWNERS,
        "Webhooks that were not written to the stream, or that the full stream lost.",
    ),
    _histogram("antiphon_webhook_delivery_seconds", ("signaling",), "Of one attempt.", _SETUP),
    _gauge("antiphon_webhook_waiting", ("signaling",), "Webhooks in the stream."),
)

_MODEL_METRICS: Final = (
    _histogram("antiphon_model_stt_seconds", _MODELS, "Of one transcription.", TURN_BUCKETS, **_MODEL),
    _histogram(
        "antiphon_model_llm_first_token_seconds",
        _MODELS,
        "From the request to the first token.",
        TURN_BUCKETS,
        **_MODEL,
    ),
    _histogram(
        "antiphon_model_tts_first_audio_seconds", _MODELS, "From the text to the first audio.", TURN_BUCKETS, **_MODEL
    ),
    _counter("antiphon_model_requests_total", _MODELS, "Requests to models.", kind=MODEL_KINDS, **_MODEL),
    _counter("antiphon_model_failures_total", _MODELS, "Of these, those that failed.", kind=MODEL_KINDS, **_MODEL),
    _gauge("antiphon_model_busy", _MODELS, "Jobs that run.", kind=(*MODEL_KINDS, "threads")),
    _gauge("antiphon_model_queue_length", _MODELS, "Jobs that wait.", kind=(*MODEL_KINDS, "threads")),
)

_RELAY: Final = (
    _counter(
        "antiphon_relay_packets_total",
        ("relay",),
        "Datagrams forwarded.",
        direction=("to_transceivers", "to_clients", "to_relays"),
    ),
    _counter(
        "antiphon_relay_bytes_total",
        ("relay",),
        "Octets of clients' datagrams, without headers of the tunnel or the backbone.",
        direction=("to_transceivers", "to_clients", "to_relays"),
    ),
    _counter("antiphon_relay_drops_total", ("relay",), "Datagrams dropped, by reason.", reason=MAX_DROP_REASONS),
    _histogram(
        "antiphon_relay_added_delay_seconds",
        ("relay",),
        "From the read of a batch to the end of its last send, of one batch in some.",
        DELAY_BUCKETS,
        direction=("to_transceivers", "to_clients"),
    ),
    _histogram("antiphon_relay_batch_datagrams", ("relay",), "Datagrams read at once.", BATCH_BUCKETS),
    _counter("antiphon_relay_hellos_total", ("relay",), "Transceivers asked for their clients."),
    _gauge("antiphon_relay_flows", ("relay",), "Flows in the tables of the workers.", state=("confirmed", "half_open")),
    _counter("antiphon_relay_flows_found_total", ("relay",), "Flows learned by a look-up over NATS."),
    _gauge("antiphon_relay_routes", ("relay",), "Transceivers in the workers' route tables."),
    _gauge(
        "antiphon_relay_lateness_seconds",
        ("relay",),
        "Most by which a worker's loop missed its tick since the last scrape.",
    ),
    _gauge("antiphon_relay_transceivers", ("relay",), "Transceivers that are announced."),
    _gauge("antiphon_relay_workers", ("relay",), "Forwarding workers that answer."),
    _counter("antiphon_relay_worker_restarts_total", ("relay",), "Workers replaced."),
    _gauge("antiphon_relay_nats_reachable", ("relay",), "Announcements arrive."),
    _gauge("antiphon_relay_ingress_number", ("relay",), "Number in backbone headers; 0 for none."),
    _gauge("antiphon_relay_relays", ("relay",), "Announced processes of other clusters' relays."),
    _gauge("antiphon_relay_relays_out", ("relay",), "Of these, relays that do not answer a worker."),
    _gauge("antiphon_relay_slot_moves", ("relay",), "Slots whose sessions go on in another cluster."),
    _gauge(
        "antiphon_relay_round_trip_seconds", ("relay",), "To the nearest relay of a cluster that answers.", cluster=64
    ),
)

_NATS: Final = (
    _gauge("antiphon_nats_connected", SERVICES, "1: the connection is up."),
    _histogram("antiphon_nats_round_trip_seconds", SERVICES, "Of a ping, every 10 s.", _NETWORK),
    _counter("antiphon_nats_reconnects_total", SERVICES, "Times that the connection was made anew."),
    _counter("antiphon_nats_messages_total", SERVICES, "Messages.", direction=("in", "out")),
    _counter("antiphon_nats_bytes_total", SERVICES, "Their octets.", direction=("in", "out")),
    _counter(
        "antiphon_nats_messages_dropped_total",
        ("transceiver", "signaling", "inference-bridge", "agent"),
        "Messages that were not published: the buffer was full or the connection away.",
    ),
    _gauge("antiphon_nats_pending_bytes", SERVICES, "What waits to be sent."),
)

_PROCESS: Final = (
    _gauge(
        "antiphon_process_info",
        SERVICES,
        "1; the labels say what the process is.",
        service=SERVICES,
        version=4,
        region=4,
        name=4,
    ),
    _gauge("antiphon_process_start_time_seconds", SERVICES, "Unix time of its start."),
    _counter("antiphon_process_cpu_seconds_total", SERVICES, "CPU time, user and system."),
    _gauge("antiphon_process_resident_bytes", SERVICES, "Memory in RAM."),
    _gauge(
        "antiphon_process_loop_lateness_seconds",
        SERVICES,
        "Most by which the event loop missed its tick since the last scrape.",
    ),
    _gauge("antiphon_process_tasks", SERVICES, "asyncio tasks."),
    _gauge("antiphon_process_threads", SERVICES, "Threads."),
    _gauge(
        "antiphon_process_queue_length",
        ("transceiver",),
        "What waits, by queue.",
        queue=("handshakes",),
    ),
    _gauge("antiphon_process_draining", SERVICES, "1: the process takes no more calls."),
    _counter(
        "antiphon_process_spans_dropped_total",
        SERVICES,
        "Spans that were not sent, because the queue was full or the collector away.",
    ),
    _counter(
        "antiphon_process_labels_folded_total",
        SERVICES,
        "Values that were counted under `other`, because their label had its most.",
    ),
)

METRICS: Final[dict[str, Definition]] = {
    each.name: each
    for each in (
        *_CALLS,
        *_TURNS,
        *_REPLIES,
        *_MEDIA,
        *_CLIENTS,
        *_TRANSCEIVER,
        *_SIGNALING,
        *_MODEL_METRICS,
        *_RELAY,
        *_NATS,
        *_PROCESS,
    )
}
"""All of them, by name."""
