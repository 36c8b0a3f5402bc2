"""Fleet: can I deploy now, and are calls in trouble."""

from __future__ import annotations

from typing import Final

from panels import CONSOLE, REGION, TRACES, Panel, Query, Row, dashboard, here, quantile, rate, total, worst

OURS: Final = "client_vanished|agent_lost|setup_timeout|dtls_failed|internal"
"""Ends of calls that no side asked for."""
FIRING: Final = '(count(ALERTS{alertstate="firing", severity="page"}) or vector(0))'
PLACES: Final = here("antiphon_call_capacity", 'service="transceiver"')
_WEBRTC: Final = total("antiphon_call_active", labels='transport="webrtc"')
CALLS: Final = f"({_WEBRTC} or vector(0))"
SPARE: Final = f"sum({PLACES}) - max({PLACES}) - {CALLS}"
"""Free places when the largest transceiver is gone."""
DEPLOY: Final = f"({FIRING} == bool 0) * (count({PLACES} > 0) >= bool 2) * ({SPARE} >= bool 0)"
_ENDED: Final = rate("antiphon_call_ended_total", window="5m")
_FAILED: Final = rate("antiphon_call_ended_total", labels=f'reason=~"{OURS}"', window="5m")
FAILED: Final = f"({_FAILED} or vector(0)) / clamp_min({_ENDED}, 1e-9)"

PAGE: Final = dashboard(
    "fleet",
    "fleet",
    "Can I deploy now, and which part is in trouble. From here to the other pages by the links above.",
    [REGION, CONSOLE, TRACES],
    [
        Row(
            "Now",
            (
                Panel(
                    "Can I deploy now?",
                    "Yes: no alert that pages fires, at least two transceivers take calls, and the others have room "
                    "for the calls of the largest one. A call survives the restart of a transceiver only if another "
                    "one takes it over.",
                    (Query(DEPLOY),),
                    kind="stat",
                    texts={"0": ("No", "red"), "1": ("Yes", "green")},
                    width=4,
                    height=5,
                ),
                Panel(
                    "Alerts that page",
                    "Firing now; the list is below. Each has its section in docs/runbook.md.",
                    (Query(FIRING),),
                    kind="stat",
                    steps=((1, "red"),),
                    width=4,
                    height=5,
                ),
                Panel(
                    "Calls",
                    "Calls that run now, over WebRTC and WebSocket.",
                    (Query(f"{total('antiphon_call_active')} or vector(0)"),),
                    kind="stat",
                    width=4,
                    height=5,
                    lowest="blue",
                ),
                Panel(
                    "Free places without the largest transceiver",
                    "Below 0: if it ends now, calls end with it.",
                    (Query(SPARE),),
                    kind="stat",
                    steps=((0, "orange"), (5, "green")),
                    lowest="red",
                    width=4,
                    height=5,
                ),
                Panel(
                    "Calls that failed (5 min)",
                    "Share of the calls that ended because a part of ours failed or the client vanished.",
                    (Query(FAILED),),
                    kind="stat",
                    unit="percentunit",
                    steps=((0.01, "orange"), (0.05, "red")),
                    width=4,
                    height=5,
                    decimals=1,
                ),
                Panel(
                    "Wait for an answer, p95 (5 min)",
                    "From the caller's last sample to the first one of the answer. Callers begin to notice at 0.7 s.",
                    (Query(quantile(0.95, "antiphon_turn_latency_seconds", window="5m")),),
                    kind="stat",
                    unit="s",
                    steps=((1.2, "orange"), (2, "red")),
                    width=4,
                    height=5,
                    decimals=2,
                ),
            ),
        ),
        Row(
            "Calls in trouble",
            (
                Panel(
                    "Calls by state",
                    "`suspect`: nothing was received from the client for a while. Many at once: a relay or a network.",
                    (Query(total("antiphon_call_active", "state, transport"), "{{state}} {{transport}}"),),
                    stacked=True,
                ),
                Panel(
                    "Ends by reason",
                    "`hang_up` and `client_closed` are ordinary. `agent_lost`: agents; `client_vanished`: networks or "
                    "a relay; `setup_timeout`, `dtls_failed`: the media path.",
                    (Query(rate("antiphon_call_ended_total", "reason"), "{{reason}}"),),
                    unit="cps",
                    stacked=True,
                ),
                Panel(
                    "Offers refused, by code",
                    "5xx is ours: no transceiver, no relay, no agent or no room. 4xx is the client's.",
                    (Query(f"{rate('antiphon_call_refused_total', 'code')} or vector(0)", "{{code}}"),),
                    unit="cps",
                ),
                Panel(
                    "Wait for an answer",
                    "The points lead to traces of single calls. Which part it is: page Agents.",
                    (
                        Query(quantile(0.5, "antiphon_turn_latency_seconds"), "p50", exemplars=True),
                        Query(quantile(0.95, "antiphon_turn_latency_seconds"), "p95"),
                    ),
                    unit="s",
                    steps=((2, "red"),),
                ),
                Panel(
                    "Packets lost, p95 of calls",
                    "Above 5 % words are lost. One direction of all calls: our network; single calls: theirs.",
                    (Query(quantile(0.95, "antiphon_media_loss_ratio", "direction"), "{{direction}}"),),
                    unit="percentunit",
                    steps=((0.05, "red"),),
                ),
                Panel(
                    "Frames late at transceivers, p99",
                    "Above 20 ms a frame misses its turn, and every caller of the process hears gaps.",
                    (Query(worst("antiphon_media_lateness_seconds", "instance", 'quantile="0.99"'), "{{instance}}"),),
                    unit="s",
                    steps=((0.02, "red"),),
                ),
            ),
        ),
        Row(
            "Processes",
            (
                Panel(
                    "Alerts",
                    "",
                    kind="alertlist",
                    width=8,
                    height=9,
                    extra={
                        "options": {
                            "alertName": "",
                            "datasource": "Prometheus",
                            "viewMode": "list",
                            "groupMode": "default",
                            "maxItems": 20,
                            "sortOrder": 3,
                            "stateFilter": {"firing": True, "pending": True, "error": True, "noData": False},
                        },
                        "targets": [],
                    },
                ),
                Panel(
                    "Processes and versions",
                    "Two versions of a service: a deployment is under way, or stopped half-way.",
                    (
                        Query(
                            "sum by (job, instance, service, name, region, version) "
                            '(antiphon_process_info{region=~"$region"})'
                        ),
                    ),
                    kind="table",
                    width=16,
                    height=9,
                    extra={
                        "transformations": [
                            {
                                "id": "organize",
                                "options": {"excludeByName": {"Time": True, "Value": True}, "renameByName": {}},
                            }
                        ]
                    },
                ),
                Panel(
                    "Scraped",
                    "0: Prometheus does not reach the process. It has ended, or its port is closed.",
                    (Query('up{job!="prometheus"}', "{{job}} {{instance}}"),),
                    unit="short",
                ),
                Panel(
                    "Connected to NATS",
                    "0: the process reaches no NATS server. Calls that run go on without the agent's speech.",
                    (Query(here("antiphon_nats_connected"), "{{job}} {{instance}}"),),
                ),
                Panel(
                    "NATS round trip, p99",
                    "Every 10 s, from each process. Speech goes this way: above 50 ms answers come late.",
                    (Query(quantile(0.99, "antiphon_nats_round_trip_seconds", "job"), "{{job}}"),),
                    unit="s",
                    steps=((0.05, "red"),),
                ),
                Panel(
                    "Take-overs",
                    "Calls that went on in another process. `killed`: one died. `handed_over`: one was restarted.",
                    (Query(f"{rate('antiphon_call_takeovers_total', 'job, how')} or vector(0)", "{{job}} {{how}}"),),
                    unit="cps",
                ),
                Panel(
                    "CPU",
                    "1 is one core.",
                    (Query(rate("antiphon_process_cpu_seconds_total", "job, instance"), "{{job}} {{instance}}"),),
                    unit="short",
                ),
                Panel(
                    "Memory",
                    "In RAM. It grows with calls and falls after them; a line that only rises is a leak.",
                    (Query(total("antiphon_process_resident_bytes", "job, instance"), "{{job}} {{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Event loops late",
                    "The most since the last scrape. Above 0.1 s something stands still in the process.",
                    (Query(worst("antiphon_process_loop_lateness_seconds", "job, instance"), "{{job}} {{instance}}"),),
                    unit="s",
                    steps=((0.1, "orange"),),
                ),
                Panel(
                    "Spans lost",
                    "Not sent, because the queue was full or the collector away: traces have holes then.",
                    (Query(f"{rate('antiphon_process_spans_dropped_total', 'job')} or vector(0)", "{{job}}"),),
                    unit="cps",
                ),
                Panel(
                    "Webhooks",
                    "`failed`: given up. `retried` for long: the other end does not answer.",
                    (Query(f"{rate('antiphon_webhook_deliveries_total', 'result')} or vector(0)", "{{result}}"),),
                    unit="cps",
                ),
                Panel(
                    "Webhooks that wait",
                    "In the stream; all signaling processes see the same one.",
                    (Query(worst("antiphon_webhook_waiting")),),
                    steps=((100, "orange"), (1000, "red")),
                ),
            ),
        ),
        Row(
            "Signaling and usage",
            (
                Panel(
                    "HTTP answers",
                    "By status.",
                    (Query(rate("antiphon_signaling_requests_total", "status"), "{{status}}"),),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Time to the answer, p95",
                    "By route. An offer waits for a transceiver and an agent.",
                    (Query(quantile(0.95, "antiphon_signaling_request_seconds", "route"), "{{route}}"),),
                    unit="s",
                ),
                Panel(
                    "Seconds of calls per key",
                    "Of the calls that ended, by API key.",
                    (Query(f"{rate('antiphon_usage_seconds_total', 'key')} or vector(0)", "{{key}}"),),
                    unit="short",
                ),
            ),
        ),
    ],
)
