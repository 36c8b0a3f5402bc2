"""The page of metrics of a transceiver process, which a call goes through."""

from __future__ import annotations

import pytest
from support.models.sounds import speech, tone
from support.processes.metrics_page import pages_of
from support.processes.transceiver_observed import loud
from support.processes.transceiver_process import transceiver_process

from antiphon.schemas import messages

pytestmark = pytest.mark.process


async def test_a_call_is_on_the_page_while_it_runs_and_after_its_end(nats_url: str) -> None:
    async with transceiver_process(nats_url, ANTIPHON_METRICS_BIND="127.0.0.1:0") as bench:
        peer, line = await bench.call()
        peer.speak(tone(0.4))
        await bench.say(line, speech(0.4))
        await bench.until(lambda: loud(line.frames) and loud(peer.frames), "both hear each other")
        (page,) = await pages_of(bench.client, "antiphon-transceiver")
        assert page.value("antiphon_call_active", state="running", transport="webrtc") == 1
        assert page.value("antiphon_media_packets_total", direction="received") > 0
        assert page.value("antiphon_media_packets_total", direction="sent") > 0
        assert page.value("antiphon_nats_connected") == 1
        assert page.value("antiphon_process_resident_bytes") > 1e6
        for step in ("open", "ice", "dtls", "first_audio_in", "first_audio_out"):
            assert page.value("antiphon_call_setup_seconds_count", step=step) == 1, step
        assert page.value("antiphon_call_claim_seconds_count") == 1
        assert (await bench.control(line, messages.HangUp())).ok
        await bench.sessions(0)
        (page,) = await pages_of(bench.client, "antiphon-transceiver")
        assert page.value("antiphon_call_active", state="running", transport="webrtc") == 0
        assert page.value("antiphon_call_ended_total", reason="hang_up", transport="webrtc") == 1
        assert page.value("antiphon_call_duration_seconds_count", transport="webrtc") == 1
        assert page.value("antiphon_usage_seconds_total", key="none") > 0
