"""Listening to a call over HTTP, against stand-ins on a real bus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.processes.signaling import OFFER, StandIns, signaling_process, until

from antiphon.cli import main
from antiphon.schemas.messages import ANY_CREATOR, Refused

pytestmark = pytest.mark.process

CALL = "rtc_000000000000000000000001"
SDP = {"Content-Type": "application/sdp"}


@pytest.fixture
def locked(nats_url: str, stand_ins: StandIns, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Locked]:
    """A service with a key for each scope, and the keys by these names."""
    stand_ins.transceiver()
    stand_ins.relay()
    stand_ins.agent()
    file = tmp_path / "keys.json"
    keys = {}
    for name in ("calls", "listen", "listen calls.manage", "secrets calls listen"):
        scopes = [f"--scope={scope}" for scope in name.split()]
        assert main.main(["api-keys", "add", "--file", str(file), *scopes]) == 0
        keys[name] = capsys.readouterr().out.strip().splitlines()[-1].split()[-1]
    with (
        signaling_process(nats_url, ANTIPHON_API_KEYS_FILE=str(file)) as service,
        httpx.Client(base_url=service.url) as client,
    ):
        until(lambda: client.get("/healthz").status_code == 200, "the stack is healthy")
        yield Locked(client, keys)


class Locked:
    def __init__(self, client: httpx.Client, keys: dict[str, str]) -> None:
        self.client, self.keys = client, keys

    def ask(self, key: str, method: str = "POST", path: str = f"/v1/whep/{CALL}") -> httpx.Response:
        headers = SDP | {"Authorization": f"Bearer {self.keys[key]}"}
        return self.client.request(method, path, content=OFFER if method != "DELETE" else b"", headers=headers)


def test_a_key_with_the_scope_listens_and_nothing_else_does(locked: Locked, stand_ins: StandIns) -> None:
    transceiver = stand_ins.running[0]
    assert locked.ask("calls").status_code == 403
    secret = locked.client.post(
        "/v1/realtime/client_secrets",
        json={},
        headers={"Authorization": f"Bearer {locked.keys['secrets calls listen']}"},
    ).json()["value"]
    locked.keys["secret"] = secret
    refused = locked.ask("secret")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "server_key_needed")
    assert not transceiver.opened
    opened = locked.ask("listen calls.manage")
    assert opened.status_code == 201, opened.text
    assert opened.headers["location"] == f"/v1/whep/{CALL}/{CALL}"  # the stand-in gives each session this name
    assert opened.headers["content-type"] == "application/sdp"
    assert "a=candidate" in opened.text
    request = transceiver.opened[-1]
    assert request.session_id == CALL
    assert request.creator == ANY_CREATOR
    assert request.listener
    assert request.listener != ANY_CREATOR
    # A key without calls.manage asks in its own name: the transceiver decides whether the call is one of its own.
    assert locked.ask("listen").status_code == 201
    assert transceiver.opened[-1].creator == transceiver.opened[-1].listener
    listener = f"/v1/whep/{CALL}/rtc_000000000000000000000002"
    assert locked.ask("listen", "PATCH", f"/v1/whep/{CALL}/{CALL}").status_code == 200
    assert locked.ask("listen", "DELETE", listener).status_code == 404
    assert locked.ask("calls", "DELETE", listener).status_code == 403
    assert locked.client.options(f"/v1/whep/{CALL}").headers["accept-post"].startswith("application/sdp")


@pytest.mark.nightly
def test_the_transceivers_refusals_are_the_answers(http: httpx.Client, healthy: StandIns) -> None:
    refusals = {"no_session": 404, "full": 503, "draining": 503, "bad_offer": 400, "no_audio": 400}
    for code, status in refusals.items():
        healthy.running[0].reply = Refused.model_validate({"code": code, "message": "not now"})
        refused = http.post(f"/v1/whep/{CALL}", content=OFFER, headers=SDP)
        assert refused.status_code == status, refused.text
        assert ("retry-after" in refused.headers) == (status == 503)
    for path in ("/v1/whep/rtc_nobody", "/v1/whep/x.y"):
        assert http.post(path, content=OFFER, headers=SDP).status_code == 404
