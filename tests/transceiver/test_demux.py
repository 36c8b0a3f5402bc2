"""A session is found by the names that it has now, and by none that it had. In virtual time."""

from __future__ import annotations

import asyncio

import pytest
from support.net.emulator import run_virtual
from support.peers.session_call import HEADER, KEYRING, PASSWORD_KEY, RELAY, Call

from antiphon.cli.call.ice_check import pack_binding_request
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.net.demux import Unrouted

pytestmark = pytest.mark.virtual


def a_check(ufrag: str) -> bytes:
    return HEADER + pack_binding_request(f"{ufrag}:peer", ice_password(PASSWORD_KEY, ufrag), use_candidate=True)


def test_a_check_for_a_session_that_is_not_here_is_returned_whole() -> None:
    async def main() -> None:
        call = Call()
        ufrag, _ = KEYRING.mint(0, 7, 1, 1.8e9)
        packet = a_check(ufrag)
        assert call.registry.receive(packet, RELAY, call.loop.time(), 0) == Unrouted(ufrag, packet, RELAY)
        assert call.registry.counters.refused_checks == 0, "another transceiver may have it"
        await call.stop()

    run_virtual(main())


def test_a_replaced_ufrag_and_a_removed_session_are_not_found() -> None:
    async def main() -> None:
        call = Call()
        await call.connect()
        old = call.session.state.ufrags[0]
        new, _ = KEYRING.mint(0, 0, 0, 1.8e9)
        call.registry.restart_ice(call.session, new)
        call.peer._answer.ufrag, call.peer._answer.password = new, ice_password(PASSWORD_KEY, new)
        await asyncio.sleep(6)
        now = call.loop.time()
        assert isinstance(call.registry.receive(a_check(old), RELAY, now, 0), Unrouted)
        assert call.registry.receive(a_check(new), RELAY, now, 0) is None
        assert call.registry.owner_of(HEADER) is call.session
        call.registry.remove(call.session)
        assert isinstance(call.registry.receive(a_check(new), RELAY, now, 0), Unrouted)
        assert call.registry.owner_of(HEADER) is None
        assert len(call.registry) == 0
        await call.stop()

    run_virtual(main())


def test_a_newer_call_from_the_same_client_address_keeps_it_when_the_older_one_ends() -> None:
    async def main() -> None:
        older, newer = Call(), Call(seed=2)
        newer.session.state.session_id = "rtc_newer"
        older.registry.add(newer.session)
        now = older.loop.time()
        older.registry.receive(a_check(older.session.state.ufrags[0]), RELAY, now, 0)
        older.registry.receive(a_check(newer.session.state.ufrags[0]), RELAY, now, 0)
        assert older.registry.owner_of(HEADER) is newer.session
        older.registry.remove(older.session)
        assert older.registry.owner_of(HEADER) is newer.session
        await older.stop()
        await newer.stop()

    run_virtual(main())
