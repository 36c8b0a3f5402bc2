"""Metrics of a process: bounded, never an error of a call, and shown in the words of their readers."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as text_format

from antiphon.runtime.metrics import Metrics, MetricsService, settings
from antiphon.runtime.metrics.call_meter import CallMeter, usage_key
from antiphon.runtime.metrics.prometheus import page
from antiphon.runtime.metrics.settings import NOWHERE
from antiphon.runtime.metrics.store import MAX_SERIES, MAX_VALUE
from antiphon.runtime.metrics.table import OTHER
from antiphon.schemas import messages
from antiphon.schemas.addresses import Address

pytestmark = pytest.mark.pure
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


async def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    found = {each.definition.name: each for each in await metrics.collect()}
    if name not in found:
        return {}
    series = found[name]
    counted = {labels: float(sum(buckets.counts)) for labels, buckets in series.buckets.items()}
    return counted | {labels: cell.value for labels, cell in series.cells.items()}


async def test_label_values_beyond_the_cap_are_counted_as_other() -> None:
    metrics = Metrics("signaling")
    for number in range(1000):
        metrics.add("antiphon_usage_calls_total", key=f"k{number}")
    found = await values(metrics, "antiphon_usage_calls_total")
    assert len(found) == 101
    assert found[OTHER,] == 900
    assert await values(metrics, "antiphon_process_labels_folded_total") == {(): 900}


async def test_values_that_the_table_does_not_list_are_other_and_long_ones_are_cut() -> None:
    metrics = Metrics("signaling")
    metrics.add("antiphon_call_ended_total", reason="made up", transport="webrtc")
    metrics.add("antiphon_usage_calls_total", key="x" * 10_000)
    assert (await values(metrics, "antiphon_call_ended_total"))[OTHER, "webrtc"] == 1
    assert list(await values(metrics, "antiphon_usage_calls_total")) == [("x" * MAX_VALUE,)]


async def test_combinations_of_labels_are_bounded_as_well() -> None:
    metrics = Metrics("signaling")
    for route in range(64):
        for status in range(32):
            metrics.add("antiphon_signaling_requests_total", route=f"/{route}", method="GET", status=str(status))
    found = await values(metrics, "antiphon_signaling_requests_total")
    assert len(found) == MAX_SERIES + 1
    assert sum(found.values()) == 64 * 32


async def test_a_callbacks_values_are_bounded_too() -> None:
    metrics = Metrics("relay")
    metrics.gauge("antiphon_relay_drops_total", lambda: {f"reason {n}": 1 for n in range(60)})
    for _ in range(2):
        found = await values(metrics, "antiphon_relay_drops_total")
        assert found[OTHER,] == 12
        assert len(found) == 49


async def test_a_name_or_a_label_that_the_table_does_not_have_is_logged_once_and_fails_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics("relay")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            metrics.add("antiphon_made_up_total")
            metrics.observe("antiphon_nats_round_trip_seconds_", 1.0)
            metrics.add("antiphon_webhook_dropped_total")  # of another service
    assert len(caplog.records) == 3


def test_a_callback_for_an_unknown_metric_or_a_second_one_is_an_error_at_start() -> None:
    metrics = Metrics("relay")
    with pytest.raises(ValueError, match="antiphon_usage_calls_total is no metric of relay"):
        metrics.gauge("antiphon_usage_calls_total", lambda: 1)
    metrics.gauge("antiphon_relay_workers", lambda: 1)
    with pytest.raises(ValueError, match="has a callback already"):
        metrics.gauge("antiphon_relay_workers", lambda: 2)


async def test_a_callback_that_fails_hides_its_own_metric_only(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("relay")
    metrics.gauge("antiphon_relay_workers", lambda: 1 // 0)
    metrics.gauge("antiphon_relay_transceivers", lambda: 7)
    for _ in range(2):
        assert await values(metrics, "antiphon_relay_transceivers") == {(): 7}
        assert await values(metrics, "antiphon_relay_workers") == {}
    assert len(caplog.records) == 1


async def test_a_counter_of_known_labels_begins_at_zero_and_not_at_its_first_event() -> None:
    found = await values(Metrics("transceiver"), "antiphon_call_ended_total")
    assert found["internal", "webrtc"] == 0


async def test_both_formats_are_read_by_their_parsers_and_openmetrics_has_exemplars() -> None:
    metrics = Metrics("transceiver")
    metrics.add("antiphon_call_refused_total", code='a "quoted"\nline')
    metrics.observe("antiphon_turn_latency_seconds", 0.6, trace=TRACE)
    metrics.observe("antiphon_turn_latency_seconds", 99.0)
    series = await metrics.collect()
    plain, kind = page(series, "text/plain;version=0.0.4, */*")
    assert kind.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_format(plain.decode())}
    assert families["antiphon_call_refused"].samples[0].labels == {"code": 'a "quoted"\nline'}
    (total,) = [s.value for s in families["antiphon_turn_latency_seconds"].samples if s.name.endswith("_sum")]
    assert total == pytest.approx(99.6)
    body, kind = page(series, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    read: Callable[[str], Iterable[Metric]] = vars(parser)["text_string_to_metric_families"]  # it has no types
    (samples,) = [each.samples for each in read(body.decode()) if each.name == "antiphon_turn_latency_seconds"]
    (exemplar,) = [sample.exemplar for sample in samples if sample.exemplar]
    assert exemplar.labels == {"trace_id": "a" * 32, "span_id": "b" * 16}
    assert exemplar.value == 0.6


@pytest.mark.parametrize("accept", ["", ";;;", "application/openmetrics-text;version=x", "text/plain;version=a.b", "é"])
async def test_an_odd_accept_header_gets_a_page(accept: str) -> None:
    body, _ = page(await Metrics("relay").collect(), accept)
    assert b"process_cpu_seconds_total" in body


async def test_a_span_that_is_not_recorded_is_no_exemplar() -> None:
    metrics = Metrics("transceiver")
    metrics.observe("antiphon_turn_latency_seconds", 0.6, trace=TRACE.removesuffix("01") + "00")
    (series,) = [each for each in await metrics.collect() if each.definition.name == "antiphon_turn_latency_seconds"]
    assert series.buckets[()].exemplars == [None] * 17


# ---- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("", Address("127.0.0.1", 9480)),
        ("off", None),
        (" OFF ", None),
        ("localhost:9000", Address("127.0.0.1", 9000)),
        ("[::1]:0", Address("::1", 0)),
        ("0.0.0.0:9100", Address("0.0.0.0", 9100)),
    ],
)
def test_the_setting_says_where_the_page_is(text: str, bind: Address | None) -> None:
    assert settings.load("transceiver", {"ANTIPHON_METRICS_BIND": text}).bind == bind


@pytest.mark.parametrize("text", ["on", "9480", "127.0.0.1", "example.org:9480", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_an_address_that_can_be_none_is_named_with_its_variable(text: str) -> None:
    with pytest.raises(ValueError, match=r"ANTIPHON_METRICS_BIND is .* expected ip:port"):
        settings.load("transceiver", {"ANTIPHON_METRICS_BIND": text})


async def test_off_keeps_nothing_and_starts_nothing() -> None:
    service = MetricsService("transceiver", NOWHERE)
    await service.start(lambda: None)
    service.metrics.add("antiphon_call_refused_total", code="full")
    service.metrics.add("not even looked at")
    assert await service.metrics.collect() == []
    assert service.metadata() == {}
    await service.close()


def test_no_client_library_is_loaded_before_it_is_needed() -> None:
    script = "import sys, antiphon.runtime.metrics; assert not {'prometheus_client', 'requests'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True)


# ---- one call ------------------------------------------------------------------------------------------------


def statistics(**counted: float) -> messages.Statistics:
    zero = ("packets_received", "packets_lost", "packets_late", "frames_concealed", "packets_sent", "jitter_ms")
    return messages.Statistics.model_validate(dict.fromkeys(zero, 0) | counted)


async def test_a_call_is_counted_from_its_events() -> None:
    metrics = Metrics("transceiver")
    meter = CallMeter(metrics, "webrtc", "0123456789abcdef.secret", TRACE)
    meter.started()
    meter.event(statistics(packets_received=100, packets_sent=100))
    meter.event(statistics(packets_received=190, packets_lost=10, packets_sent=200, remote_packets_lost=50))
    meter.event(messages.AudioLevel(level_dbov=-30, voice=True))
    meter.event(messages.PlayoutOverflow(dropped_frames=1))
    meter.event(messages.PlayoutOverflow(dropped_frames=51))
    meter.event(messages.Ended(reason="hang_up", statistics=statistics()))
    assert await values(metrics, "antiphon_media_loss_ratio") == {("from_client",): 1, ("to_client",): 1}
    assert await values(metrics, "antiphon_media_frames_dropped_total") == {(): 51}
    assert (await values(metrics, "antiphon_call_ended_total"))["hang_up", "webrtc"] == 1
    assert list(await values(metrics, "antiphon_usage_seconds_total")) == [("01234567",)]
    assert usage_key("") == "none"


async def test_a_held_speech_that_is_given_up_is_an_interruption_and_a_resumed_one_is_none() -> None:
    metrics = Metrics("transceiver")
    meter = CallMeter(metrics, "webrtc")

    def playout(state: str) -> None:
        meter.event(
            messages.Playout(generation=1, played_samples=480, rate=24000, queued_ms=20, state=state)  # type: ignore[arg-type]
        )

    flushed = messages.Flushed(generation=1, played_samples=480, rate=24000, dropped_ms=400)
    for state in ("started", "paused", "playing"):
        playout(state)
    meter.event(flushed)
    assert await values(metrics, "antiphon_turn_interruption_seconds") == {}
    playout("paused")
    meter.event(flushed)
    assert await values(metrics, "antiphon_turn_interruption_seconds") == {("decision",): 1}
    assert await values(metrics, "antiphon_turn_interruptions_total") == {(): 2}


async def test_a_turns_parts_and_their_sum_are_observed_as_far_as_they_are_known() -> None:
    metrics = Metrics("transceiver")
    parts = messages.TurnParts(end_of_turn=500, stt=120.5)
    CallMeter(metrics, "webrtc").turn(messages.Turn(number=1, generation=1, began=1.0, parts=parts, end="completed"))
    assert await values(metrics, "antiphon_turn_part_seconds") == {("end_of_turn",): 1, ("stt",): 1}
    (latency,) = [each for each in await metrics.collect() if each.definition.name == "antiphon_turn_latency_seconds"]
    assert latency.buckets[()].sum == pytest.approx(0.6205)
    assert (await values(metrics, "antiphon_turn_ended_total"))["completed",] == 1
