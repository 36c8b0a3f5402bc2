"""Relay: does media get through."""

from __future__ import annotations

from typing import Final

from panels import CONSOLE, REGION, TRACES, Panel, Query, Row, choice, dashboard, here, quantile, rate, total, worst

OVERLOAD: Final = "overload|send_failed|socket_error|table_full|over_budget"
"""Drops that are the relay's own, not the sender's."""
CLUSTER: Final = choice("cluster", "Cluster", "label_values(antiphon_relay_round_trip_seconds, cluster)")

PAGE: Final = dashboard(
    "relay",
    "relay",
    "The public UDP port: packets, drops, delay, flows, the backbone to other clusters.",
    [REGION, CLUSTER, CONSOLE, TRACES],
    [
        Row(
            "Does media get through?",
            (
                Panel(
                    "Datagrams",
                    "Both directions of calls; `to_relays` goes to another region.",
                    (Query(rate("antiphon_relay_packets_total", "direction"), "{{direction}}"),),
                    unit="pps",
                ),
                Panel(
                    "Drops by reason",
                    f"The relay's own: {OVERLOAD.replace('|', ', ')}. The others are packets of strangers and of calls "
                    "that are over. docs/relay.md has each reason.",
                    (Query(f"{rate('antiphon_relay_drops_total', 'reason')} or vector(0)", "{{reason}}"),),
                    unit="pps",
                    stacked=True,
                ),
                Panel(
                    "Added delay",
                    "From the read of a batch to its last send.",
                    (
                        Query(quantile(0.5, "antiphon_relay_added_delay_seconds", "direction"), "p50 {{direction}}"),
                        Query(quantile(0.99, "antiphon_relay_added_delay_seconds", "direction"), "p99 {{direction}}"),
                    ),
                    unit="s",
                    steps=((0.005, "orange"),),
                ),
                Panel(
                    "Octets",
                    "Of clients' datagrams.",
                    (Query(rate("antiphon_relay_bytes_total", "direction"), "{{direction}}"),),
                    unit="Bps",
                ),
                Panel(
                    "Flows",
                    "Clients. `half_open` many: somebody sends packets with tokens that no transceiver confirms.",
                    (Query(total("antiphon_relay_flows", "state"), "{{state}}"),),
                    stacked=True,
                ),
                Panel(
                    "Datagrams read at once",
                    "Near 128 for long: the workers are at their limit.",
                    (
                        Query(quantile(0.5, "antiphon_relay_batch_datagrams"), "p50"),
                        Query(quantile(0.99, "antiphon_relay_batch_datagrams"), "p99"),
                    ),
                ),
            ),
        ),
        Row(
            "Its parts",
            (
                Panel(
                    "Transceivers that it knows",
                    "0: no call can be served. Fewer than run: their announcements do not arrive.",
                    (
                        Query(here("antiphon_relay_transceivers"), "announced, {{instance}}"),
                        Query(here("antiphon_relay_routes"), "in route tables, {{instance}}"),
                    ),
                ),
                Panel(
                    "Workers",
                    "That answer. They are replaced when they die.",
                    (
                        Query(here("antiphon_relay_workers"), "{{instance}}"),
                        Query(total("antiphon_relay_worker_restarts_total", "instance"), "replaced, {{instance}}"),
                    ),
                ),
                Panel(
                    "Workers late",
                    "The most since the last scrape.",
                    (Query(worst("antiphon_relay_lateness_seconds", "instance"), "{{instance}}"),),
                    unit="s",
                    steps=((0.1, "orange"),),
                ),
                Panel(
                    "NATS reachable",
                    "0: no announcements. Flows that are there go on.",
                    (Query(here("antiphon_relay_nats_reachable"), "{{instance}}"),),
                ),
                Panel(
                    "Transceivers asked, flows found",
                    "After its start a relay asks whose the clients are.",
                    (
                        Query(rate("antiphon_relay_hellos_total"), "asked"),
                        Query(rate("antiphon_relay_flows_found_total"), "found over NATS"),
                    ),
                    unit="cps",
                ),
                Panel(
                    "CPU",
                    "1 is one core.",
                    (
                        Query(
                            rate("antiphon_process_cpu_seconds_total", "instance", process='service="relay"'),
                            "{{instance}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Other clusters",
            (
                Panel(
                    "Round trip",
                    "To the nearest relay of a cluster that answers.",
                    (
                        Query(
                            worst("antiphon_relay_round_trip_seconds", "cluster", 'cluster=~"$cluster"'),
                            "cluster {{cluster}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Relays of other clusters",
                    "`out`: of these, those that do not answer.",
                    (
                        Query(worst("antiphon_relay_relays"), "announced"),
                        Query(worst("antiphon_relay_relays_out"), "out"),
                    ),
                ),
                Panel(
                    "Slots that moved",
                    "Their sessions go on in another cluster: this one was lost.",
                    (Query(worst("antiphon_relay_slot_moves", "instance"), "{{instance}}"),),
                    steps=((1, "orange"),),
                ),
            ),
        ),
    ],
)
