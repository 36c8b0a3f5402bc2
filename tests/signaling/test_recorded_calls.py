"""A recorder beside the service changes no answer of it: what has no call is 404 at once, for every way to ask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.processes.signaling import OFFER, SignalingProcess, StandIns
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.process

NEVER = f"rtc_{'x' * 24}"


@pytest.fixture
def recorder(nats_url: str, tmp_path: Path) -> Iterator[None]:
    """`antiphon record`, once it listens."""
    command = [sys.executable, "-m", "antiphon.cli", "record", "--out", str(tmp_path)]
    environment = os.environ | {"ANTIPHON_NATS_URL": nats_url}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "waiting for calls" in process.stderr.readline()
            yield
        finally:
            process.send_signal(signal.SIGINT)


def statuses(service: SignalingProcess, http: httpx.Client, call_id: str) -> dict[str, int]:
    """What each way to ask for this call is answered."""
    call, whip = f"/v1/realtime/calls/{call_id}", f"/v1/whip/sessions/{call_id}"
    fragment = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
    as_fragment = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}
    found = {
        "hang up": http.post(f"{call}/hangup").status_code,
        "delete": http.delete(call).status_code,
        "offer again": http.post(call, content=OFFER, headers={"Content-Type": "application/sdp"}).status_code,
        "end WHIP": http.delete(whip).status_code,
        "look at WHIP": http.get(whip).status_code,
        "fragment": http.patch(whip, content=fragment, headers=as_fragment).status_code,
        "hang up live": http.post(f"/v1/live/sessions/{call_id}/hangup").status_code,
    }
    base = service.url.replace("http", "ws")
    for path in (f"/v1/realtime?call_id={call_id}", f"/v1/live/sessions/{call_id}/attach"):
        with pytest.raises(InvalidStatus) as refused:
            connect(base + path, proxy=None)
        found[path] = refused.value.response.status_code
    return found


def test_calls_that_ended_or_never_were_are_404_at_once_beside_a_recorder(
    signaling: SignalingProcess, http: httpx.Client, healthy: StandIns, recorder: None
) -> None:
    placed = http.post("/v1/realtime/calls", content=OFFER, headers={"Content-Type": "application/sdp"})
    call_id = placed.headers["location"].rsplit("/")[-1]
    with connect(f"{signaling.url.replace('http', 'ws')}/v1/live/sessions/{call_id}/attach", proxy=None):
        pass  # the side channel by its second path
    healthy.stop(healthy.running[0])
    for each in (call_id, NEVER):
        assert set(statuses(signaling, http, each).values()) == {404}, each
