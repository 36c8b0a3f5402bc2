"""`antiphon doctor` against a stack that is well, one that is ill, and none."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.http_answers import http_answers
from support.processes.up_process import up_process

from antiphon.cli.call.ice_check import reach
from antiphon.cli.call.sdp import Answer
from antiphon.cli.errors import CallError
from antiphon.rtc import stun
from antiphon.schemas.addresses import Address


def _doctor(*options: str) -> tuple[int, dict[str, list[dict[str, Any]]], str]:
    """Exit status, the findings by check, and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "doctor", "--json", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")},
    )
    findings: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        findings.setdefault(finding["check"], []).append(finding)
    return done.returncode, findings, done.stderr


@pytest.mark.process
@pytest.mark.models
def test_doctor_finds_a_running_stack_well_and_a_stopped_relay_by_its_port(tmp_path: Path) -> None:
    with up_process(tmp_path) as running:
        url = running.wait_until_ready()
        status, findings, errors = _doctor("--url", url, "--nats", running.nats_url)
        assert status == 0, findings
        assert not errors
        assert {finding["state"] for part in findings.values() for finding in part} == {"ok"}
        relay = findings["udp"][0]["message"].split()[0]

        # Its workers only: it stays announced and its port open, and nothing comes back.
        relays = running.pid_of("relay")
        for worker in Path(f"/proc/{relays}/task/{relays}/children").read_text().split():
            os.kill(int(worker), signal.SIGSTOP)
        status, findings, _ = _doctor("--url", url, "--nats", "none")
        assert status == 1
        assert findings["udp"][0]["state"] == "fail"
        assert relay in findings["udp"][0]["message"]
        assert relay.rpartition(":")[2] in findings["udp"][0]["fix"]


@pytest.mark.process
def test_doctor_without_a_stack_names_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    status, findings, errors = _doctor("--url", f"http://127.0.0.1:{closed}", "--nats", f"nats://127.0.0.1:{closed}")
    assert status == 1
    assert not errors
    for check in ("nats", "health", "page", "call"):
        assert findings[check][0]["state"] == "fail"
        assert findings[check][0]["fix"]


@pytest.mark.process
def test_doctor_sees_an_agent_that_takes_calls_and_could_not_serve_them() -> None:
    body = json.dumps({"status": "ok", "troubles": {"concierge": "its chat server refuses the connection"}})
    with http_answers(200, {"Content-Type": "application/json"}, body) as url:
        status, findings, _ = _doctor("--url", url, "--nats", "none")
    assert status == 1
    (agent,) = findings["agent"]
    assert (agent["state"], agent["message"]) == ("fail", "agent concierge: its chat server refuses the connection")


@pytest.mark.process
@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "--key"),
        (503, "transceiver"),
        *(pytest.param(*each, marks=pytest.mark.nightly) for each in ((403, "--url"), (404, "--agent"))),
        pytest.param(418, "Antiphon's address", marks=pytest.mark.nightly),
    ],
)
def test_doctor_names_a_way_out_for_each_kind_of_refusal(status: int, way_out: str) -> None:
    with http_answers(status, {}, json.dumps({"error": {"message": "this server's own words"}})) as url:
        code, findings, _ = _doctor("--url", url, "--nats", "none")
    assert code == 1
    (call,) = findings["call"]
    assert "this server's own words" in call["message"]
    assert way_out in call["fix"]
    for check in ("health", "page"):
        assert findings[check][0]["fix"]


@pytest.mark.process
def test_doctor_says_that_a_url_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "doctor", "--url", "localhost"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# ---- the STUN check: whose answer counts -------------------------------------------------------------

SDP = """\
a=ice-ufrag:server\r
a=ice-pwd:the password of the session\r
a=fingerprint:sha-256 AB:CD\r
a=setup:active\r
"""
CANDIDATES = """\
a=candidate:1 1 udp 2130706000 192.0.2.1 3478 typ host\r
a=candidate:2 1 tcp 1 192.0.2.1 443 typ host tcptype passive\r
a=candidate:3 1 UDP 2130705744 2001:db8::1 3478 typ host\r
"""
ANSWER = Answer(SDP + CANDIDATES)


def _respond(request: bytes, password: str, kind: int = stun.BINDING_SUCCESS) -> bytes:
    head = kind.to_bytes(2, "big") + (24).to_bytes(2, "big") + request[4:20]
    return head + b"\x00\x08\x00\x14" + hmac.digest(password.encode(), head, "sha1")


def _reach(reply: bytes | None, password: str = ANSWER.password) -> float | None:
    """`reach` against a responder that sends `reply`, or a signed success."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))

        def respond() -> None:
            request, client = responder.recvfrom(2048)
            responder.sendto(_respond(request, password) if reply is None else reply, client)

        thread = threading.Thread(target=respond)
        thread.start()
        try:
            return reach(ANSWER, Address(*responder.getsockname()), "client", timeout=0.5)
        finally:
            thread.join()


@pytest.mark.process
def test_an_answer_signed_by_the_session_counts() -> None:
    assert _reach(None) is not None


@pytest.mark.process
@pytest.mark.parametrize("reply", [b"", b"hello", bytes(20), b"\x01\x01" + bytes(18)])
def test_stray_bytes_are_no_answer(reply: bytes) -> None:
    assert _reach(reply) is None


@pytest.mark.process
def test_an_answer_signed_by_somebody_else_does_not_count() -> None:
    assert _reach(None, password="a guess") is None


@pytest.mark.pure
def test_an_answer_without_relays_is_told_apart() -> None:
    with pytest.raises(CallError, match="no relay"):
        Answer(SDP)
    with pytest.raises(CallError, match="ufrag"):
        Answer("v=0\r\n")


@pytest.mark.pure
def test_the_candidates_of_an_answer_are_read_in_order() -> None:
    assert ANSWER.candidates == [Address("192.0.2.1", 3478), Address("2001:db8::1", 3478)]


@pytest.mark.pure
def test_a_candidate_that_is_no_address_is_named() -> None:
    with pytest.raises(CallError, match="port"):
        Answer(SDP + CANDIDATES.replace("3478", "99999"))
