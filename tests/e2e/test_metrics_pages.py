"""Every service of a real stack shows a call on its page of metrics."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.models.bookings import BOOKING
from support.models.voice import RATE, say, silence
from support.processes.metrics_page import MetricsPage, pages_of
from support.processes.stack import Stack

from antiphon.cli.call.wav import write_wav
from antiphon.runtime.metrics.table import METRICS
from antiphon.runtime.nats import connection

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.nightly]
REGISTER = {
    "relay": "antiphon-relay",
    "transceiver": "antiphon-transceiver",
    "signaling": "antiphon-signaling",
    "inference-bridge": "antiphon-agent",
}


async def test_a_call_is_on_the_pages_of_all_services(stack: Stack, tmp_path: Path) -> None:
    wav = tmp_path / "question.wav"
    write_wav(wav, np.concatenate([silence(0.2), say(BOOKING), silence(0.2)]), RATE)
    command = [sys.executable, "-m", "antiphon.cli.main", "call", "--url", stack.url, "--wav", str(wav)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    client = await connection.connect(stack.nats_url, "test", stack.access("operator"))
    try:
        pages: dict[str, MetricsPage] = {}
        for service, name in REGISTER.items():
            pages[service] = next(
                page
                for page in await pages_of(client, name)
                for sample, labels in page.samples
                if sample == "antiphon_process_info" and ("service", service) in labels
            )
    finally:
        await client.close()
    relay, transceiver, signaling, bridge = pages.values()
    assert relay.value("antiphon_relay_packets_total", direction="to_clients") > 0
    assert relay.value("antiphon_relay_added_delay_seconds_count", direction="to_clients") > 0
    assert transceiver.value("antiphon_call_started_total", transport="webrtc") > 0
    assert signaling.value("antiphon_usage_calls_total", key="none") > 0
    route = {"route": "/v1/realtime/calls", "method": "POST", "status": "201"}
    assert signaling.value("antiphon_signaling_requests_total", **route) > 0
    assert bridge.value("antiphon_model_stt_seconds_count", model="local") > 0
    assert bridge.value("antiphon_model_tts_first_audio_seconds_count", model="local") > 0
    assert bridge.value("antiphon_call_claims_total", result="accepted") > 0
    for service, page in pages.items():
        ours = {name for name, _ in page.samples if name.startswith("antiphon_")}
        known = {name for name, each in METRICS.items() if service in each.services}
        suffixes = ("", "_bucket", "_sum", "_count")
        assert ours <= {name + suffix for name in known for suffix in suffixes}
