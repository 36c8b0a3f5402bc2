"""Call: one call by its id, and what its surroundings were like at that time.

No metric has a call's id, which would make a series for each call; traces have it, and the console.
"""

from __future__ import annotations

from typing import Final

from panels import (
    CONSOLE,
    JAEGER,
    REGION,
    TRACES,
    Panel,
    Query,
    Row,
    dashboard,
    quantile,
    rate,
    text,
    words,
    worst,
)

CALL: Final = words("call", "Call", "rtc_", "The call's id: from the log, the client, the console or `antiphon top`.")
_TAGS: Final = "%7B%22session.id%22%3A%22${call}%22%7D"
_SEARCH: Final = f"${{jaeger}}/search?lookback=2d&tags={_TAGS}&service=antiphon"
_LINKS: Final = f"""**[The call in the console](${{console}}#${{call}})**: its time line, both sides' words
where they are kept, where it moved.

**[Its trace in Jaeger]({_SEARCH}-transceiver)**, from the offer to its end; a call over
WebSocket: [here]({_SEARCH}-signaling).
Of quick calls without a fault a share is kept (deploy/otel/collector.yaml).

Its log lines: `docker compose logs | grep ${{call}}`"""


def _trace(service: str) -> Panel:
    """Jaeger's search for the call's id, by Grafana's own source."""
    target = {
        "refId": "A",
        "datasource": JAEGER,
        "queryType": "search",
        "service": service,
        "tags": "session.id=${call}",
        "limit": 20,
    }
    return Panel(
        f"Traces by antiphon-{service.removeprefix('antiphon-')}",
        "A click opens the trace.",
        kind="table",
        width=12,
        height=6,
        extra={"datasource": JAEGER, "targets": [target]},
    )


PAGE: Final = dashboard(
    "call",
    "one call",
    "One call by its id, with what went on around it. Set the time above to the call's.",
    [CALL, REGION, CONSOLE, TRACES],
    [
        Row(
            "The call ${call}",
            (
                text("", _LINKS, height=6),
                _trace("antiphon-transceiver"),
                _trace("antiphon-signaling"),
            ),
        ),
        Row(
            "Was it this call only? All calls at that time",
            (
                Panel(
                    "Wait for an answer",
                    "The points are traces. This call was slow and these lines are low: it is the call's own.",
                    (
                        Query(quantile(0.5, "antiphon_turn_latency_seconds"), "p50", exemplars=True),
                        Query(quantile(0.95, "antiphon_turn_latency_seconds"), "p95", exemplars=True),
                    ),
                    unit="s",
                    steps=((2, "red"),),
                ),
                Panel(
                    "By part, p95",
                    "Which part of the wait grew.",
                    (Query(quantile(0.95, "antiphon_turn_part_seconds", "part"), "{{part}}"),),
                    unit="s",
                ),
                Panel(
                    "Set-up, p95",
                    "By step, from the offer to the first audio both ways.",
                    (Query(quantile(0.95, "antiphon_call_setup_seconds", "step"), "{{step}}", exemplars=True),),
                    unit="s",
                ),
                Panel(
                    "Packets lost, p95 of calls",
                    "",
                    (Query(quantile(0.95, "antiphon_media_loss_ratio", "direction"), "{{direction}}"),),
                    unit="percentunit",
                    steps=((0.05, "red"),),
                ),
                Panel(
                    "Round trip and jitter of clients, p95",
                    "As the transceiver measures them, and as clients report them.",
                    (
                        Query(quantile(0.95, "antiphon_media_round_trip_seconds"), "round trip"),
                        Query(quantile(0.95, "antiphon_media_jitter_seconds"), "jitter"),
                        Query(quantile(0.95, "antiphon_client_jitter_buffer_seconds"), "clients' jitter buffer"),
                    ),
                    unit="s",
                ),
                Panel(
                    "Transceivers late, p99",
                    "",
                    (Query(worst("antiphon_media_lateness_seconds", "instance", 'quantile="0.99"'), "{{instance}}"),),
                    unit="s",
                    steps=((0.02, "red"),),
                ),
                Panel(
                    "Ends by reason",
                    "",
                    (Query(rate("antiphon_call_ended_total", "reason"), "{{reason}}"),),
                    unit="cps",
                ),
                Panel(
                    "Interruptions, p95",
                    "From the onset of the caller's voice to the decision, and from that to silence.",
                    (Query(quantile(0.95, "antiphon_turn_interruption_seconds", "step"), "{{step}}"),),
                    unit="s",
                ),
                Panel(
                    "Take-overs",
                    "A call that moved then has a gap in its audio.",
                    (Query(f"{rate('antiphon_call_takeovers_total', 'job, how')} or vector(0)", "{{job}} {{how}}"),),
                    unit="cps",
                ),
            ),
        ),
    ],
)
