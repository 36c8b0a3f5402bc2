"""`digestOf` of client_stats.js: reports of Chromium and of Firefox, and reports that lack what they should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.browsers.virtual_page import virtual_page

import antiphon.signaling.http.static_files as files
from antiphon.runtime.owned_calls.client_statistics import ClientReports
from antiphon.schemas import messages

pytestmark = pytest.mark.process

Report = dict[str, dict[str, Any]]
Digest = Callable[[Report, Report], Any]

INBOUND = {
    "type": "inbound-rtp",
    "kind": "audio",
    "jitter": 0.004,
    "packetsReceived": 250,
    "packetsLost": -1,
    "totalSamplesReceived": 240_000,
    "concealedSamples": 960,
    "jitterBufferDelay": 0.5,
    "jitterBufferEmittedCount": 10,
}
PAIR = {"type": "candidate-pair", "localCandidateId": "l", "remoteCandidateId": "r", "currentRoundTripTime": 0.021}
LOCAL = {"type": "local-candidate", "candidateType": "prflx", "protocol": "udp", "address": "192.0.2.77"}
REMOTE = {"type": "remote-candidate", "protocol": "udp", "address": "198.51.100.4"}
CHROMIUM: Report = {
    "t": {"type": "transport", "selectedCandidatePairId": "p"},
    "other": {**PAIR, "currentRoundTripTime": 9.0},
    "p": PAIR,
    "l": LOCAL,
    "r": REMOTE,
    "i": INBOUND,
}
FIREFOX: Report = {
    "p": {name: value for name, value in PAIR.items() if name != "currentRoundTripTime"} | {"selected": True},
    "l": LOCAL,
    "r": REMOTE,
    "i": {name: value for name, value in INBOUND.items() if name != "totalSamplesReceived"},
}


@pytest.fixture(scope="module")
def digest() -> Iterator[Digest]:
    with virtual_page() as page:
        page.evaluate(
            "async (module) => { globalThis.stats = await import(module); }",
            (files.STATIC / "client_stats.js").resolve().as_uri(),
        )

        def run(first: Report, second: Report) -> Any:
            return page.evaluate(
                """([first, second]) => {
                  const report = (entries) => new Map(Object.entries(entries));
                  const { kept } = stats.digestOf(report(first));
                  return stats.digestOf(report(second), kept).message;
                }""",
                [first, second],
            )

        yield run


def later(report: Report) -> Report:
    return {**report, "i": {**report["i"], "jitterBufferDelay": 1.7, "jitterBufferEmittedCount": 30}}


def test_a_browsers_report_becomes_a_digest_that_the_server_takes(digest: Digest) -> None:
    told = digest(CHROMIUM, later(CHROMIUM))
    reports = ClientReports()
    taken = reports.take_event(told, 400, 1.0)
    assert isinstance(taken, messages.ClientStatistics)
    assert taken.round_trip_ms == 21
    assert taken.jitter_buffer_ms == pytest.approx(60)
    assert (taken.packets_lost, taken.samples_concealed) == (-1, 960)
    assert (taken.protocol, taken.candidate) == ("udp", "prflx")
    assert "192.0.2.77" not in str(told)


def test_what_a_browser_does_not_tell_is_left_out(digest: Digest) -> None:
    told = digest(FIREFOX, later(FIREFOX))
    assert not {"round_trip_ms", "samples_received"} & told.keys()
    assert told["jitter_ms"] == 4
    assert isinstance(ClientReports().take_event(told, 400, 1.0), messages.ClientStatistics)
    assert "jitter_buffer_ms" not in digest(FIREFOX, FIREFOX)  # nothing was played between the two


def test_where_there_is_nothing_to_tell_no_digest_is_made(digest: Digest) -> None:
    assert digest({}, {}) is None
    assert digest({}, {"t": {"type": "transport"}, "v": {"type": "inbound-rtp", "kind": "video", "jitter": 1}}) is None
