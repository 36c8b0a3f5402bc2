"""Transceiver: do callers get their audio in time."""

from __future__ import annotations

from typing import Final

from panels import CONSOLE, REGION, TRACES, Panel, Query, Row, dashboard, here, quantile, rate, total, worst

OF: Final = 'service="transceiver"'

PAGE: Final = dashboard(
    "transceiver",
    "transceiver",
    "Where WebRTC ends: load, lateness, loss, concealment, set-up, take-over.",
    [REGION, CONSOLE, TRACES],
    [
        Row(
            "Load",
            (
                Panel(
                    "Calls and places",
                    "A place of 0: the process drains.",
                    (
                        Query(total("antiphon_call_active", "instance", process=OF), "calls, {{instance}}"),
                        Query(total("antiphon_call_capacity", "instance", process=OF), "places, {{instance}}"),
                    ),
                ),
                Panel(
                    "Frames late",
                    "Quantiles over the last frames. Above 20 ms callers hear gaps: fewer calls or more cores.",
                    (
                        Query(
                            worst("antiphon_media_lateness_seconds", "instance, quantile"), "{{instance}} {{quantile}}"
                        ),
                    ),
                    unit="s",
                    steps=((0.02, "red"),),
                ),
                Panel(
                    "CPU",
                    "1 is one core.",
                    (Query(rate("antiphon_process_cpu_seconds_total", "instance", process=OF), "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "Audio",
            (
                Panel(
                    "Packets",
                    "RTP of clients.",
                    (
                        Query(rate("antiphon_media_packets_total", "direction"), "{{direction}}"),
                        Query(rate("antiphon_media_packets_lost_total"), "lost"),
                        Query(rate("antiphon_media_packets_late_total"), "too late"),
                    ),
                    unit="pps",
                ),
                Panel(
                    "Loss",
                    "Between two reports of a call.",
                    (
                        Query(quantile(0.5, "antiphon_media_loss_ratio", "direction"), "p50 {{direction}}"),
                        Query(quantile(0.95, "antiphon_media_loss_ratio", "direction"), "p95 {{direction}}"),
                    ),
                    unit="percentunit",
                    steps=((0.05, "red"),),
                ),
                Panel(
                    "Jitter and round trip, p95",
                    "`client`: as clients report them.",
                    (
                        Query(quantile(0.95, "antiphon_media_jitter_seconds"), "jitter"),
                        Query(quantile(0.95, "antiphon_media_round_trip_seconds"), "round trip"),
                        Query(quantile(0.95, "antiphon_client_jitter_seconds"), "jitter, client"),
                        Query(quantile(0.95, "antiphon_client_round_trip_seconds"), "round trip, client"),
                    ),
                    unit="s",
                ),
                Panel(
                    "Made up or dropped",
                    "Frames of 20 ms for each second. `dropped`: the agent sent more than the queue of a call holds.",
                    (
                        Query(rate("antiphon_media_frames_concealed_total"), "concealed"),
                        Query(rate("antiphon_media_frames_dropped_total"), "dropped"),
                    ),
                    unit="cps",
                ),
                Panel(
                    "Made up by clients",
                    "Share of the samples, as clients report it: what the caller did not receive.",
                    (
                        Query(
                            f"{rate('antiphon_client_samples_concealed_total')}"
                            f" / clamp_min({rate('antiphon_client_samples_received_total')}, 1)"
                        ),
                    ),
                    unit="percentunit",
                    steps=((0.03, "orange"), (0.1, "red")),
                ),
                Panel(
                    "Speech that waits",
                    "To be played, of all calls and of the call with most.",
                    (Query(total("antiphon_media_queue_seconds", "of"), "{{of}}"),),
                    unit="s",
                ),
            ),
        ),
        Row(
            "Set-up and moves",
            (
                Panel(
                    "Set-up, p95",
                    "By step.",
                    (Query(quantile(0.95, "antiphon_call_setup_seconds", "step"), "{{step}}", exemplars=True),),
                    unit="s",
                ),
                Panel(
                    "Take-overs",
                    "By how the process before ended.",
                    (
                        Query(
                            f"{rate('antiphon_call_takeovers_total', 'how', process=OF)} or vector(0)",
                            "{{how}}",
                        ),
                    ),
                    unit="cps",
                ),
                Panel(
                    "Age of the state that a call goes on from, p95",
                    "After a kill, speech of that time is lost.",
                    (Query(quantile(0.95, "antiphon_call_takeover_gap_seconds", "how"), "{{how}}"),),
                    unit="s",
                    steps=((1, "orange"),),
                ),
                Panel(
                    "Handshakes that wait",
                    "DTLS; many: a rush of callers, or an attack.",
                    (Query(total("antiphon_process_queue_length", "queue"), "{{queue}}"),),
                ),
                Panel(
                    "Packets refused",
                    "Of clients. `over_budget`: a client sends too much.",
                    (
                        Query(f"{rate('antiphon_media_packets_refused_total', 'reason')} or vector(0)", "{{reason}}"),
                        Query(
                            f"{rate('antiphon_transceiver_datagrams_ignored_total', 'reason')} or vector(0)",
                            "ignored, {{reason}}",
                        ),
                        Query(rate("antiphon_transceiver_datagrams_dropped_total"), "not taken by the kernel"),
                    ),
                    unit="pps",
                ),
                Panel(
                    "Slots and relays",
                    "More than one slot: it has taken over a process that died. No relay: no media.",
                    (
                        Query(here("antiphon_transceiver_slots"), "slots, {{instance}}"),
                        Query(here("antiphon_transceiver_relays"), "relays, {{instance}}"),
                    ),
                ),
            ),
        ),
        Row(
            "NATS",
            (
                Panel(
                    "Messages",
                    "Audio goes this way: 50 a second and direction for each call.",
                    (Query(rate("antiphon_nats_messages_total", "direction", process=OF), "{{direction}}"),),
                    unit="cps",
                ),
                Panel(
                    "Messages dropped",
                    "The buffer was full or the connection away.",
                    (Query(rate("antiphon_nats_messages_dropped_total", "job"), "{{job}}"),),
                    unit="cps",
                    steps=((1, "orange"),),
                ),
                Panel(
                    "Waits to be sent",
                    "",
                    (Query(total("antiphon_nats_pending_bytes", "job"), "{{job}}"),),
                    unit="bytes",
                ),
            ),
        ),
    ],
)
