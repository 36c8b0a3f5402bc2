"""Whatever comes in wrong goes out as a clear JSON error with the right status, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.signaling import OFFER, SignalingProcess, StandIns

pytestmark = pytest.mark.process

CALLS = "/v1/realtime/calls"
SDP = {"Content-Type": "application/sdp"}
SECRETS = "/v1/realtime/client_secrets"
JSON = {"Content-Type": "application/json"}
NO_CODEC = OFFER.replace("opus/48000", "G722/8000").replace("SAVPF 111 0", "SAVPF 111")
ROWS = [
    ("garbage", "POST", CALLS, SDP, b"\x00\xff\xfe garbage", 400, "bad_offer"),
    ("text that is no SDP", "POST", CALLS, SDP, b"hello", 400, "bad_offer"),
    ("nothing", "POST", CALLS, SDP, b"", 400, "bad_offer"),
    ("video only", "POST", CALLS, SDP, OFFER.replace("m=audio", "m=video").encode(), 400, "no_audio"),
    ("no audio", "POST", CALLS, SDP, OFFER.replace("m=audio", "m=application").encode(), 400, "no_audio"),
    ("no codec", "POST", CALLS, SDP, NO_CODEC.encode(), 400, "no_opus"),
    ("1 MB", "POST", CALLS, SDP, b"v=0\r\n" + b"a=x\r\n" * 200_000, 413, "body_too_large"),
    ("just too long", "POST", CALLS, SDP, b"v" * 65537, 413, "body_too_large"),
    ("wrong type", "POST", CALLS, JSON, b"{}", 415, "unsupported_media_type"),
    ("no type", "POST", CALLS, {}, OFFER.encode(), 415, "unsupported_media_type"),
    ("multipart, no boundary", "POST", CALLS, {"Content-Type": "multipart/form-data"}, b"x", 400, "bad_multipart"),
    (
        "multipart, torn",
        "POST",
        CALLS,
        {"Content-Type": "multipart/form-data; boundary=b"},
        b"--b\r\nContent-Disposition: nonsense\r\n\r\n",
        400,
        None,
    ),
    ("agent name", "POST", CALLS + "?agent=a.b", SDP, OFFER.encode(), 400, "bad_agent"),
    ("wrong method", "GET", CALLS, {}, b"", 405, "method_not_allowed"),
    ("wrong method", "PUT", "/healthz", {}, b"", 405, "method_not_allowed"),
    ("wrong method", "POST", "/", {}, b"", 405, "method_not_allowed"),
    ("no such path", "GET", "/v2/realtime", {}, b"", 404, "not_found"),
    ("no such path", "GET", "/redoc", {}, b"", 404, "not_found"),
    ("no such file", "GET", "/static/nothing.js", {}, b"", 404, "not_found"),
    ("out of the directory", "GET", "/static/..%2fapp.py", {}, b"", 404, "not_found"),
    ("secrets, no JSON", "POST", SECRETS, JSON, b"{", 400, "bad_json"),
    ("secrets, a list", "POST", SECRETS, JSON, b"[]", 400, "bad_json"),
    ("secrets, wrong type", "POST", SECRETS, {"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
    (
        "secrets, too long a life",
        "POST",
        SECRETS,
        JSON,
        b'{"expires_after": {"anchor": "created_at", "seconds": 7201}}',
        400,
        "invalid_value",
    ),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignalingProcess]:
    """One complete stack for all rows: none of them changes anything."""
    from support.processes.nats import nats_server
    from support.processes.signaling import signaling_process, until

    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        parts = StandIns(url)
        try:
            parts.transceiver(), parts.relay(), parts.agent()
            with signaling_process(url) as running:
                until(lambda: httpx.get(running.url + "/healthz").status_code == 200, "the stack is healthy")
                yield running
        finally:
            parts.close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [row[1:] for row in ROWS],
    ids=[f"{row[0]} {row[1]} {row[2]}"[:60] for row in ROWS],
)
def test_each_kind_of_bad_input_has_its_status_and_says_what_is_wrong(
    service: SignalingProcess, method: str, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    response = httpx.request(method, service.url + path, headers=headers, content=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert code is None or error["code"] == code
    assert "Traceback" not in response.text
    assert "/site-packages" not in response.text
    assert status != 405 or response.headers["allow"]


NO_SESSIONS = {
    "torn": "{",
    "a list": "[1]",
    "a string": '"x"',
    "nested too deep to read": "[" * 60_000,
    "nested too deep to write": '{"a":' * 400 + "1" + "}" * 400,
    "no number": '{"a": NaN}',
    "an endless number": '{"a": -Infinity}',
    "a number beyond all bounds": '{"a": 1e999}',
    "half a character": '{"a": "\\ud800"}',
    "half a character as a name": '{"\\udfff": 1}',
}


@pytest.mark.parametrize("session", NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_settings_for_a_secret_that_cannot_be_passed_on_are_refused(service: SignalingProcess, session: str) -> None:
    response = httpx.post(service.url + SECRETS, content=f'{{"session": {session}}}', headers=JSON)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("session", NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_a_session_that_is_no_object_is_refused(service: SignalingProcess, session: str) -> None:
    files = {"sdp": (None, OFFER), "session": (None, session)}
    response = httpx.post(service.url + CALLS, files=files)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == "session"


def test_a_multipart_body_without_an_offer_or_with_too_long_a_one_is_refused(service: SignalingProcess) -> None:
    response = httpx.post(service.url + CALLS, files={"session": (None, "{}")})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "missing_sdp")
    response = httpx.post(service.url + CALLS, files={"sdp": (None, "v=0" * 30_000)})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_the_limit_holds_while_reading_when_no_length_is_declared(service: SignalingProcess) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield b"v" * 4096

    response = httpx.post(service.url + CALLS, content=chunks(), headers=SDP)
    assert response.status_code == 413


def test_a_client_that_asks_before_sending_too_much_is_told_at_once(service: SignalingProcess) -> None:
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as client:
        head = f"POST {CALLS} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/sdp\r\n"
        client.sendall(f"{head}Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_after_all_that_a_call_still_works_and_no_error_was_logged(service: SignalingProcess) -> None:
    assert httpx.post(service.url + CALLS, content=OFFER, headers=SDP).status_code == 201
    assert not [line for line in service.lines if "ERROR" in line or "Traceback" in line]
