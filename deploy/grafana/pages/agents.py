"""Agents: which part of an answer is slow, and do agents take calls."""

from __future__ import annotations

from typing import Final

from panels import CONSOLE, REGION, TRACES, Panel, Query, Row, choice, dashboard, quantile, rate, total

AGENT: Final = choice("agent", "Agent", 'label_values(antiphon_process_info{service=~"inference-bridge|agent"}, name)')
OF: Final = 'service=~"inference-bridge|agent", name=~"$agent"'
RELAY_DELAY: Final = "antiphon_relay_added_delay_seconds"
"""No owner of calls can measure it, so it is no part of `antiphon_turn_part_seconds`: joined here, by its name."""

PAGE: Final = dashboard(
    "agents",
    "agents and turns",
    "Which part of an answer is slow, and do agents take calls. Parts of a turn are measured by the owners of calls, "
    "for all agents.",
    [REGION, AGENT, CONSOLE, TRACES],
    [
        Row(
            "Turns",
            (
                Panel(
                    "Wait for an answer",
                    "From the caller's last sample to the first sample of the answer. The points are traces.",
                    (
                        Query(quantile(0.5, "antiphon_turn_latency_seconds"), "p50", exemplars=True),
                        Query(quantile(0.95, "antiphon_turn_latency_seconds"), "p95", exemplars=True),
                    ),
                    unit="s",
                    steps=((2, "red"),),
                    width=12,
                ),
                Panel(
                    "By part, p50",
                    "They add up to the wait. `end_of_turn` is the silence that ends a turn: a setting.",
                    (Query(quantile(0.5, "antiphon_turn_part_seconds", "part"), "{{part}}"),),
                    unit="s",
                    stacked=True,
                    width=12,
                ),
                Panel(
                    "By part, p95",
                    "The part with the highest line is the one to look at.",
                    (
                        Query(quantile(0.95, "antiphon_turn_part_seconds", "part"), "{{part}}"),
                        Query(quantile(0.95, RELAY_DELAY), "relay (in uplink and downlink)"),
                    ),
                    unit="s",
                    width=12,
                ),
                Panel(
                    "Turns by their end",
                    "`failed`: the agent gave no answer.",
                    (Query(rate("antiphon_turn_ended_total", "end"), "{{end}}"),),
                    unit="cps",
                    stacked=True,
                    width=12,
                ),
                Panel(
                    "Interruptions, p95",
                    "From the onset of the caller's voice to the decision, and from that to silence. Above 0.3 s both "
                    "talk at the same time.",
                    (Query(quantile(0.95, "antiphon_turn_interruption_seconds", "step"), "{{step}}"),),
                    unit="s",
                    steps=((0.5, "orange"),),
                    width=12,
                ),
                Panel(
                    "Speech cut off",
                    "By callers.",
                    (Query(rate("antiphon_turn_interruptions_total")),),
                    unit="cps",
                    width=12,
                ),
            ),
        ),
        Row(
            "Agents",
            (
                Panel(
                    "Calls and places",
                    "Of the agents' processes. No place is left: claims are refused.",
                    (
                        Query(
                            total("antiphon_call_agent_sessions", "job, instance", process=OF),
                            "calls, {{job}} {{instance}}",
                        ),
                        Query(
                            total("antiphon_call_capacity", "job, instance", process=OF), "places, {{job}} {{instance}}"
                        ),
                    ),
                ),
                Panel(
                    "Claims",
                    "`late`: the agent answered after the owner had given up.",
                    (Query(rate("antiphon_call_claims_total", "result", process=OF), "{{result}}"),),
                    unit="cps",
                ),
                Panel(
                    "Time to accept, p95",
                    "",
                    (Query(quantile(0.95, "antiphon_call_claim_seconds", "job"), "{{job}}"),),
                    unit="s",
                    steps=((1, "orange"),),
                ),
                Panel(
                    "Take-overs by agents",
                    "An agent's process died or was restarted, and another one went on.",
                    (Query(f"{rate('antiphon_call_takeovers_total', 'how', process=OF)} or vector(0)", "{{how}}"),),
                    unit="cps",
                ),
                Panel(
                    "Transfers",
                    "Of a call to another agent.",
                    (Query(f"{rate('antiphon_call_transfers_total', 'result')} or vector(0)", "{{result}}"),),
                    unit="cps",
                ),
                Panel(
                    "CPU",
                    "1 is one core.",
                    (
                        Query(
                            rate("antiphon_process_cpu_seconds_total", "job, instance", process=OF),
                            "{{job}} {{instance}}",
                        ),
                    ),
                ),
            ),
        ),
    ],
)
