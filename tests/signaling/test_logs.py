"""What signaling logs at INFO: no key, secret, query or address, also of requests that are refused or fail."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.processes.signaling import OFFER, SignalingProcess, StandIns, signaling_process, until
from support.tls import pair
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

pytestmark = pytest.mark.process

CLIENT = "127.0.0.77"
KEY = "sk-the-key-of-this-deployment-0123456789"
FORGED = "sk-a-key-that-is-guessed-0123456789"
WORDS = "what-a-caller-said"
SDP = {"Content-Type": "application/sdp"}


def raw(service: SignalingProcess, request: bytes) -> None:
    """Send it from the client's address and read what comes, whatever it is."""
    where = urlsplit(service.url)
    to = (where.hostname or "", where.port or 0)
    with socket.create_connection(to, timeout=10, source_address=(CLIENT, 0)) as client, contextlib.suppress(OSError):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


def leaves_a_line(service: SignalingProcess, request: bytes, before: int) -> bool:
    """Send it once more; whether the log has more lines than before."""
    raw(service, request)
    return len(service.lines) > before


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_no_line_holds_a_secret_a_query_or_an_address(
    nats_url: str, stand_ins: StandIns, tmp_path: Path, tls: bool
) -> None:
    certificate, key = pair().write(tmp_path)
    files = {"ANTIPHON_TLS_CERT": str(certificate), "ANTIPHON_TLS_KEY": str(key)} if tls else {}
    environment = {"ANTIPHON_API_KEYS": KEY, **files}
    environment["ANTIPHON_TRUSTED_PROXIES"] = CLIENT
    context = ssl.create_default_context(cadata=certificate.read_text())
    good, forged = ({"Authorization": f"Bearer {text}"} for text in (KEY, FORGED))
    with signaling_process(nats_url, **environment) as service:
        stand_ins.transceiver(), stand_ins.relay(), stand_ins.agent()
        transport = httpx.HTTPTransport(local_address=CLIENT, verify=context)
        with httpx.Client(base_url=service.url, transport=transport, timeout=15) as http:
            until(lambda: http.get("/healthz").status_code == 200, "the stack is healthy")
            secrets = http.post("/v1/realtime/client_secrets", json={"session": {"instructions": WORDS}}, headers=good)
            secret = secrets.json()["value"]
            http.post("/v1/realtime/calls", content=OFFER, headers={**SDP, "Authorization": f"Bearer {secret}"})
            for path in (f"/v1/agents?key={FORGED}", f"/{WORDS}?token={FORGED}", f"/v1/realtime/calls/{FORGED}"):
                for headers in (good, forged, {}):
                    http.get(path, headers={**headers, "X-Forwarded-For": "198.51.100.77"})
            for body in (OFFER.replace("m=audio", f"m={WORDS}"), WORDS, ""):
                http.post(f"/v1/realtime/calls?agent={WORDS}", content=body, headers={**SDP, **good})
            http.post("/v1/realtime/client_secrets", content=f'{{"{WORDS}', headers={**good, "Content-Type": "text/x"})
        if not tls:
            url = service.url.replace("http", "ws")
            for protocol in (KEY, FORGED):
                with contextlib.suppress(WebSocketException, OSError):
                    protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{protocol}")]
                    connect_websocket(f"{url}/v1/realtime?call_id=rtc_none&{WORDS}", subprotocols=protocols).close()
        raw(service, f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX: {KEY}\r\n\r\n".encode())
        for request in (
            f"GET /?{WORDS} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n\r\n",
            f"{WORDS} {KEY}\r\n\r\n",
            f"GET /{WORDS} HTTP/1.1\r\nHost: x\r\nUpgrade: {WORDS}\r\nConnection: upgrade\r\n\r\n",
        ):
            if not tls:  # a line a second is written: ask until it is about this one
                until(functools.partial(leaves_a_line, service, request.encode(), len(service.lines)), "it is logged")
        lines = list(service.lines)
    text = "".join(lines)
    assert " INFO " in text
    for hidden in (KEY, FORGED, secret, "ek_", "Bearer", WORDS, CLIENT, "198.51.100.77", "ERROR", "Traceback"):
        assert hidden not in text
