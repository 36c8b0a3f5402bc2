"""A session that ends is removed everywhere, and each listener is notified once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.peers.session_call import CERTIFICATE, KEYRING

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.publisher import Publisher
from antiphon.schemas import messages
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.ice.consent import SETUP_TIMEOUT
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoint, Endpoints, TransceiverIdentity
from antiphon.transceiver.net.udp_socket import TunnelSocket
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import RtpState, SessionState
from antiphon.transceiver.settings import Settings
from antiphon.transceiver.timing.scheduler import Scheduler

pytestmark = pytest.mark.process


class Recorder:
    """A `SessionListener` that notes what it is notified of."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def session_removed(self, session_id: str) -> None:
        self.removed.append(session_id)


Made = tuple[SessionTable, Session, tuple[Recorder, Recorder]]


@pytest.fixture
async def made(nats_url: str) -> AsyncIterator[Made]:
    client = await connection.connect(nats_url, "test")
    publisher = Publisher(client)
    scheduler = Scheduler(publisher)
    endpoints = Endpoints(Endpoint(TransceiverIdentity(0, 1, 1), "127.0.0.1:1", TunnelSocket("127.0.0.1", 0)))
    listeners = (Recorder(), Recorder())
    settings = Settings(route_keys=f"A:{'0' * 32}", password_key="0" * 64)
    table = SessionTable(settings, publisher, scheduler, Demux(), endpoints, listeners)
    ufrag, _ = KEYRING.mint(0, 1, 1, 1.8e9)
    state = SessionState("rtc_one", "a", [ufrag], [], 16000, RtpState(7, 111, 100, 1))
    yield table, table.make(state, CERTIFICATE, False, endpoints.own), listeners
    scheduler.close()
    endpoints.close()
    await client.close()


@pytest.mark.parametrize("how", ["ended", "hung up", "timed out", "moved"])
async def test_the_end_of_a_session_is_told_once_whatever_ended_it(made: Made, how: str) -> None:
    table, session, listeners = made
    assert table.demux.get("rtc_one") is session
    assert table.endpoints.own.sessions == {"rtc_one"}
    now = asyncio.get_running_loop().time()
    match how:
        case "ended":
            session.end("draining", now)
        case "hung up":
            session.control(messages.HangUp(reason="closed"), now)
        case "timed out":
            session.poll(now + SETUP_TIMEOUT + 1)
        case "moved":
            session.detach()
    session.end("internal", now)
    assert [listener.removed for listener in listeners] == [["rtc_one"], ["rtc_one"]]
    assert table.demux.get("rtc_one") is None
    assert table.endpoints.own.sessions == set()
    assert (table.endings.get("rtc_one", now) is None) == (how == "moved")


async def test_a_session_that_was_removed_is_not_removed_again_when_it_is_detached(made: Made) -> None:
    table, session, listeners = made
    session.end("draining", asyncio.get_running_loop().time())
    session.detach()
    assert [listener.removed for listener in listeners] == [["rtc_one"], ["rtc_one"]]
    assert len(table.endings) == 1
