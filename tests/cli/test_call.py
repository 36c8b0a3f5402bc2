"""`antiphon call` against servers that are none, or answer what they should not: one line, never a traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from support.http_answers import http_answers

from antiphon.cli.call.wav import write_wav

pytestmark = pytest.mark.process

ANSWER = "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AB:CD\r\na=setup:active\r\n"
LOCATION = {"Location": "/v1/realtime/calls/rtc_1"}


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("call") / "question.wav"
    write_wav(path, np.zeros(2400, np.int16), 24000)
    return path


def call(wav: Path, url: str, *options: str) -> tuple[int, str]:
    """Exit status and what stands on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "call", "--wav", str(wav), "--url", url, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("url", ["localhost:8080", "127.0.0.1", "ftp://localhost", "http://", "http://[::1"])
def test_an_address_that_is_no_url_is_told_with_one_that_is(wav: Path, url: str) -> None:
    status, said = call(wav, url)
    assert status == 2
    assert len(said.splitlines()) == 1
    assert "http://127.0.0.1:8080" in said


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"", "sox or ffmpeg"), (b"fLaC" + bytes(99), "sox or ffmpeg")]
)
def test_a_question_that_is_no_wav_file_is_told_with_what_to_give(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "question"
    if content is not None:
        path.write_bytes(content)
    status, said = call(path, "http://127.0.0.1:9")
    assert status == 2
    assert len(said.splitlines()) == 1
    assert told in said
    assert said.count(str(path)) == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (201, {}, ANSWER, "refused"),
        (404, {}, "<html>not here</html>", "404: <html>not here"),
        (503, {}, json.dumps({"error": {"message": "all transceivers are full"}}), "503: all transceivers are full"),
        (201, LOCATION, "hello", "is this an Antiphon server?"),
        (201, LOCATION, ANSWER, "no relay is announced"),
        (201, LOCATION, ANSWER + "a=candidate:1 1 udp 1 somewhere 3478 typ host\r\n", "somewhere"),
        (201, LOCATION, ANSWER + "a=candidate:1 1 udp 1 255.255.255.255 3478 typ host\r\n", "no way from here"),
    ],
    ids=["no location", "no antiphon", "refused", "no sdp", "no candidate", "no address", "no route"],
)
def test_an_answer_that_cannot_be_used_is_told_in_one_line(
    wav: Path, status: int, headers: dict[str, str], body: str, told: str
) -> None:
    with http_answers(status, headers, body) as url:
        code, said = call(wav, url)
    assert code == 1
    assert len(said.splitlines()) == 1
    assert told in said


@pytest.mark.nightly
def test_a_relay_that_there_is_no_route_to_is_passed_over(wav: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind(("127.0.0.1", 0))
        port = relay.getsockname()[1]
        candidates = (
            "a=candidate:1 1 udp 2 255.255.255.255 3478 typ host\r\n"
            f"a=candidate:2 1 udp 1 127.0.0.1 {port} typ host\r\n"
        )
        relay.settimeout(30)
        with http_answers(201, LOCATION, ANSWER + candidates) as url:
            code, said = call(wav, url)
        assert code == 1
        assert f"no answer by UDP from the relay at 127.0.0.1:{port}" in said
        assert relay.recv(2048)[:2] == b"\0\1"


def test_a_setting_that_the_voice_of_a_spoken_text_can_not_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_VAD_THRESHOLD", "loud")
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "call", "--say", "Hello.", "--url", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "ANTIPHON_VAD_THRESHOLD is 'loud'" in done.stderr


class EndedCalls(BaseHTTPRequestHandler):
    """Takes every call, and says of each that its agent has hung up."""

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self, status: int, body: str, kind: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for name, value in (LOCATION | {"Content-Type": kind, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        candidate = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
        self._answer(201, ANSWER + candidate, "application/sdp")

    def do_GET(self) -> None:
        told = {"status": "ended", "fault": True, "message": "the agent ended the call at once, without a word"}
        self._answer(200, json.dumps(told), "application/json")


def test_an_agent_that_hung_up_before_we_were_connected_is_named_soon_and_no_closed_port(wav: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), EndedCalls)
    Thread(target=server.serve_forever, daemon=True).start()
    began = time.monotonic()
    status, said = call(wav, f"http://127.0.0.1:{server.server_port}")
    took = time.monotonic() - began
    server.shutdown()
    server.server_close()
    assert (status, said) == (1, "antiphon call: the agent ended the call at once, without a word\n")
    assert took < 9, "it is asked before the 10 s for a connection are over"
