"""What a call leaves: lines that programs can read; no client's address, word or secret in logs or on NATS' disk."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conditions import until
from support.models.sounds import tone
from support.net.middlebox import middlebox
from support.processes.relay_process import Datagrams, mint
from support.processes.relay_process import binding_request as request_for
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer

pytestmark = [pytest.mark.realtime, pytest.mark.models]

CLIENT = "127.0.0.77"
"""An address of loopback that nothing else here has."""
SERVICES = {"relay", "transceiver", "signaling", "inference-bridge"}


def service_lines(stack: Stack) -> list[dict[str, Any]]:
    """What the services wrote, as objects."""
    parts = (line.partition("| ") for line in list(stack.lines))
    return [json.loads(text) for name, _, text in parts if name.strip() in SERVICES and text.startswith("{")]


@pytest.mark.nightly
async def test_no_line_of_a_call_holds_its_clients_address_and_each_is_an_object() -> None:
    options = ("--loopback-only", "--plugin", str(ECHO_AGENT))
    with running_stack(*options, environment={"ANTIPHON_LOG_FORMAT": "json"}) as stack:
        relay = stack.relay()
        with middlebox(relay, CLIENT) as box, closing(Datagrams(CLIENT)) as stranger:
            listener = Listener()
            peer = Peer(listener.audio, listener.message)
            await peer.connect(stack.url, "echo", relay=box.address)
            peer.speak(tone(2))
            await until(lambda: listener.last_audible is not None)
            session = peer.location.rpartition("/")[2]
            stranger.send(b"\x80noise", relay)
            stranger.send(request_for(mint()), relay)
            box.rebind()
            transport = httpx.AsyncHTTPTransport(local_address=CLIENT)
            async with httpx.AsyncClient(base_url=stack.url, transport=transport) as http:
                assert (await http.post("/v1/realtime/calls", content="v=0")).status_code >= 400
                assert (await http.get("/nowhere")).status_code == 404
            await peer.close()
            ended = {"logger": "antiphon.signaling.protocols.openai_calls", "fields": {"session": session}}
            await until(lambda: any(ended.items() <= line.items() for line in service_lines(stack)))
    services = {line["service"] for line in service_lines(stack)}
    assert services == SERVICES
    for line in service_lines(stack):
        assert {"time", "level", "service", "logger", "message", "fields"} <= line.keys()
    assert CLIENT not in "\n".join(stack.lines)
    own = (line.partition("| ") for line in stack.lines)
    others = [
        text
        for name, _, text in own
        if name.strip() in SERVICES and not text.startswith(("{", "started, pid", "a standby"))
    ]
    assert others == [], "a service wrote something that is no object"


def on_disk(directory: Path) -> bytes:
    """All that NATS has written for the stack below the directory."""
    stores = directory.glob("antiphon-up-*/jetstream")
    return b"".join(file.read_bytes() for store in stores for file in store.rglob("*") if file.is_file())


def spoken(listener: Listener) -> list[str]:
    """What the agent said in its complete responses."""
    done = [event["response"] for event in listener.events if event["type"] == "response.done"]
    texts = re.findall(r'"transcript": "([^"]{8,})"', json.dumps([each for each in done if "completed" in str(each)]))
    return [str(text) for text in texts]


async def test_no_word_of_a_call_and_no_secret_is_in_the_logs_or_in_the_store_of_nats(tmp_path: Path) -> None:
    key, sentence = "key-of-the-operator-4711", "The password of my account is heliotrope"
    environment = {"ANTIPHON_API_KEYS": key, "TMPDIR": str(tmp_path)}
    with running_stack("--loopback-only", environment=environment) as stack:
        listener = Listener()
        async with httpx.AsyncClient(base_url=stack.url, headers={"Authorization": f"Bearer {key}"}) as http:
            made = (await http.post("/v1/realtime/client_secrets", json={})).raise_for_status().json()
        secret = made["value"]
        peer = Peer(listener.audio, listener.message)
        await peer.connect(stack.url, "concierge", key=secret)
        await asyncio.wait_for(peer.channel_open.wait(), 20)
        content = [{"type": "input_text", "text": sentence}]
        item = {"type": "message", "role": "user", "content": content}
        peer.send_text(json.dumps({"type": "conversation.item.create", "item": item}))
        peer.send_text(json.dumps({"type": "response.create"}))
        await until(lambda: spoken(listener), 60)
        secrets = [sentence, "heliotrope", key, secret, peer._password, peer._answer.password]
        secrets += spoken(listener)
        assert b"antiphon-slots" in on_disk(tmp_path), "NATS keeps its store there"
        assert not [each for each in secrets if each.encode() in on_disk(tmp_path)]
        await peer.close()
        await until(lambda: any(f"{peer.session_id}" in line and "ended" in line for line in stack.lines))
        assert not [each for each in secrets if each.encode() in on_disk(tmp_path)]
    log = "\n".join(stack.lines)
    assert not [each for each in secrets if each in log]
    assert "ice-pwd" not in log
