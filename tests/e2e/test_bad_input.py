"""What is wrong with a request is said in JSON with the right status, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg
from support.conditions import until
from support.processes.stack import Stack

from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.webrtc_client import Peer
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.addresses import parse_address

pytestmark = [pytest.mark.realtime, pytest.mark.models]

OFFERS = Path(__file__).parents[1] / "rtc" / "offers"
SDP = {"Content-Type": "application/sdp"}


def an_offer() -> str:
    """A real browser's offer with audio and a data channel."""
    return (OFFERS / "chromium.sdp").read_bytes().decode()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as client:
        yield client


class Announcements:
    """What the transceiver says of itself."""

    def __init__(self) -> None:
        self.newest: messages.TransceiverAnnouncement | None = None

    async def take(self, message: Msg) -> None:
        self.newest = messages.decode(message.data, messages.TransceiverAnnouncement)

    def idle(self) -> bool:
        return self.newest is not None and self.newest.sessions == 0


@pytest.fixture
async def transceiver(stack: Stack) -> AsyncIterator[Announcements]:
    announcements = Announcements()
    client = await connection.connect(stack.nats_url, "test", stack.access("operator"))
    await client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=announcements.take)
    yield announcements
    await client.close()


BAD_OFFERS = {
    "garbage": ("this is no SDP", 400),
    "empty": ("", 400),
    "no media": ("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", 400),
    "video only": (an_offer().replace("m=audio", "m=video"), 400),
    "no audio": ("v=0\r\n" + an_offer()[an_offer().index("m=application") :], 400),
    "no codec that is spoken here": (re.sub(r"opus/48000|PCM[UA]/8000", "flac/48000", an_offer()), 400),
    "no fingerprint": ("".join(line for line in an_offer().splitlines(True) if "fingerprint" not in line), 400),
    "a megabyte": ("v=0\r\n" + "a" * (1 << 20), 413),
}


@pytest.mark.parametrize("case", BAD_OFFERS)
async def test_a_bad_offer_gets_a_clear_error_and_takes_no_session(
    http: httpx.AsyncClient, transceiver: Announcements, case: str
) -> None:
    offer, status = BAD_OFFERS[case]
    response = await http.post("/v1/realtime/calls", content=offer.encode(), headers=SDP)
    assert response.status_code == status, response.text
    assert len(response.json()["error"]["message"]) > 10
    await until(transceiver.idle)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/realtime/calls", 405),
        ("PUT", "/v1/realtime/calls", 405),
        ("POST", "/v1/realtime/nothing", 404),
        ("POST", "/v1/realtime/calls/rtc_000000000000000000000000/hangup", 404),
        ("DELETE", "/v1/realtime/calls/not.a.call", 404),
    ],
)
async def test_a_wrong_method_or_place_gets_a_clear_error(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_an_agent_that_is_not_there_is_named_with_those_that_are(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/realtime/calls?agent=nobody", content=an_offer().encode(), headers=SDP)
    assert response.status_code == 404
    message = response.json()["error"]["message"]
    assert "nobody" in message
    assert "concierge" in message


async def test_offers_without_a_client_behind_them_are_forgotten(
    http: httpx.AsyncClient, transceiver: Announcements
) -> None:
    response = await http.post("/v1/realtime/calls?agent=echo", content=an_offer().encode(), headers=SDP)
    assert response.status_code == 201
    await until(lambda: transceiver.newest is not None and transceiver.newest.sessions == 1)
    await until(transceiver.idle, 45)


async def test_random_datagrams_at_both_udp_ports_change_nothing(stack: Stack, transceiver: Announcements) -> None:
    await until(lambda: transceiver.newest is not None)
    assert transceiver.newest is not None
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(stack.url, "echo")
        relay = peer._answer.candidates[0]
        chance = random.Random(7)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for target in (relay, parse_address(transceiver.newest.tunnel_address)):
                for _ in range(2000):
                    sender.sendto(chance.randbytes(chance.randrange(1, 600)), tuple(target))
                await asyncio.sleep(0)
        heard = len(listener.frames)
        peer.speak(bytes(48000))
        await until(lambda: len(listener.frames) > heard + 50)
        assert transceiver.newest.sessions == 1
    finally:
        await peer.close()
    await until(transceiver.idle)
