"""The process: its settings, its end, its check, its traces."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.processes.signaling import OFFER, SignalingProcess, StandIns, signaling_process, until

pytestmark = pytest.mark.process


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    command = [sys.executable, "-m", "antiphon.signaling", *arguments]
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"ANTIPHON_HTTP_BIND": "0.0.0.0:0"}, "ANTIPHON_ALLOW_OPEN"),
        ({"ANTIPHON_HTTP_BIND": "nowhere"}, "ANTIPHON_HTTP_BIND"),
        pytest.param({"ANTIPHON_HTTP_BIND": "127.0.0.1:99999"}, "ANTIPHON_HTTP_BIND", marks=pytest.mark.nightly),
        pytest.param({"ANTIPHON_NATS_URL": "nats://127.0.0.1:abc"}, "ANTIPHON_NATS_URL", marks=pytest.mark.nightly),
        pytest.param({"ANTIPHON_CLUSTER": "9999"}, "ANTIPHON_CLUSTER", marks=pytest.mark.nightly),
        pytest.param({"ANTIPHON_REGION": "eu.west"}, "ANTIPHON_REGION", marks=pytest.mark.nightly),
        pytest.param({"ANTIPHON_DEFAULT_AGENT": "a b"}, "ANTIPHON_DEFAULT_AGENT", marks=pytest.mark.nightly),
        ({"ANTIPHON_API_KEYS_FILE": "/nonexistent"}, "ANTIPHON_API_KEYS_FILE"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(environment: dict[str, str], named: str) -> None:
    done = run(**environment)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(ANTIPHON_HTTP_BIND=f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert "can't be bound" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_keys_may_come_from_a_file_and_then_every_address_may_be_bound(nats_url: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("sk-from-a-mounted-file\n")
    with signaling_process(
        nats_url, ANTIPHON_API_KEYS_FILE=str(tmp_path / "keys"), ANTIPHON_HTTP_BIND="0.0.0.0:0"
    ) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1") + "/v1/agents"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer sk-from-a-mounted-file"}).status_code == 200


def test_a_terminated_service_ends_within_two_seconds_also_with_open_connections(
    signaling: SignalingProcess, healthy: StandIns, http: httpx.Client
) -> None:
    healthy.running[0].reply = None  # an offer that hangs
    hanging = Thread(target=lambda: _post_quietly(signaling.url), daemon=True)
    hanging.start()
    until(lambda: healthy.running[0].opened, "the offer is being placed")
    began = time.monotonic()
    assert signaling.stop() == 0
    assert time.monotonic() - began < 4  # and two for others who may hold this machine
    assert "Traceback" not in "".join(signaling.lines)


def _post_quietly(url: str) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.post(url + "/v1/realtime/calls", content=OFFER, headers={"Content-Type": "application/sdp"})


def test_a_service_without_nats_ends_within_two_seconds() -> None:
    with signaling_process("nats://127.0.0.1:1") as service:
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 4


@pytest.mark.nightly
def test_check_asks_the_running_instance(signaling: SignalingProcess, healthy: StandIns) -> None:
    bind = signaling.url.removeprefix("http://")
    assert run("--check", ANTIPHON_HTTP_BIND=bind).returncode == 0
    proxy = "http://127.0.0.1:9"  # of the environment: not asked
    assert run("--check", ANTIPHON_HTTP_BIND=bind, http_proxy=proxy, HTTP_PROXY=proxy).returncode == 0
    healthy.stop(healthy.running[2])
    until(lambda: "concierge" in run("--check", ANTIPHON_HTTP_BIND=bind).stderr, "the check names the lost agent")
    assert run("--check", ANTIPHON_HTTP_BIND=bind).returncode == 1
    signaling.stop()
    assert run("--check", ANTIPHON_HTTP_BIND=bind).returncode == 1


def test_the_offer_is_the_root_of_the_calls_trace_and_goes_on_over_nats(nats_url: str, stand_ins: StandIns) -> None:
    spans: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=receiver.serve_forever, daemon=True).start()
    transceiver = stand_ins.transceiver()
    stand_ins.relay()
    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    with signaling_process(nats_url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as service:
        until(
            lambda: (
                httpx.post(
                    service.url + "/v1/realtime/calls", content=OFFER, headers={"Content-Type": "application/sdp"}
                ).status_code
                == 201
            ),
            "a call is placed",
        )
        httpx.post(
            service.url + "/v1/realtime/calls",
            content=OFFER,
            headers={"Content-Type": "application/sdp", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
        )
    receiver.shutdown()
    receiver.server_close()
    offers = [span for span in spans if span.name == "offer"]
    places = [span for span in spans if span.name == "place"]
    requests = transceiver.opened
    assert offers[-1].trace_id.hex() == "ab" * 16
    assert requests[-1].trace is not None
    assert requests[-1].trace.client == f"00-{'ab' * 16}-{'cd' * 8}-01"
    for offer, request in zip(offers[-2:], requests[-2:], strict=True):  # each is a child of the call's root
        assert request.trace is not None
        assert request.trace.parent == f"00-{offer.trace_id.hex()}-{offer.parent_span_id.hex()}-01"
    assert not [span for span in spans if span.name == "call" and not span.status.code]  # the owner's, if one took it
    assert places[-1].parent_span_id == offers[-1].span_id
    assert [headers["traceparent"].split("-")[2] for headers in transceiver.headers] == [
        span.span_id.hex() for span in places
    ]
    assert not [span.attributes for span in spans if "127.0.0.1" in str(span.attributes)]
