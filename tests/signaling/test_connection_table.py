"""The table of connections: bounds, and who goes first."""

from __future__ import annotations

import pytest

from antiphon.signaling.connections.connection_table import (
    ANSWER_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    MAX_HANDSHAKES,
    RESERVE,
    WEBSOCKET_SILENCE,
    ConnectionTable,
    Held,
    address_key,
)

pytestmark = pytest.mark.pure


def admitted(table: ConnectionTable, key: str, now: float = 0.0, *, tls: bool = False) -> Held:
    held, _ = table.admit(key, now, tls=tls)
    assert held is not None
    return held


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_counts_as_what_one_subscriber_has(host: str, key: str) -> None:
    assert address_key(host) == key


def test_a_full_table_closes_the_oldest_silent_connection_and_takes_the_newcomer() -> None:
    table = ConnectionTable(3)
    first, second = admitted(table, "a"), admitted(table, "b", 1)
    admitted(table, "c", 2)
    table.answers(first, 2.5)
    held, closed = table.admit("d", 3)
    assert held is not None
    assert closed == [second], "the older one is answered just now"
    assert len(table) == 3


def test_silence_counts_from_the_last_answer() -> None:
    table = ConnectionTable(2)
    first, second = admitted(table, "a"), admitted(table, "b", 1)
    table.answers(first, 2)
    table.answered(first, 3)
    assert table.admit("c", 4)[1] == [second]
    assert table.admit("d", 5)[1] == [first]


def test_a_request_that_has_not_arrived_whole_protects_nothing() -> None:
    table = ConnectionTable(1)
    slow = admitted(table, "a")
    table.body_begins(slow, 1)
    assert table.admit("b", 2)[1] == [slow]


def test_each_address_has_its_own_bound_and_closes_its_own() -> None:
    table = ConnectionTable(100, per_address=2)
    other = admitted(table, "b")
    mine = [admitted(table, "a"), admitted(table, "a")]
    assert table.admit("a", 1)[1] == [mine[0]]
    assert other in table
    busy = [admitted(table, "c"), admitted(table, "c")]
    for each in busy:
        table.answers(each, 2)
    assert table.admit("c", 3) == (None, [])
    table.released(busy[0])
    assert table.admit("c", 4)[0] is not None


def test_an_address_without_a_bound_of_its_own_counts_among_all() -> None:
    table = ConnectionTable(3, per_address=1)
    for _ in range(5):
        assert table.admit("", 0)[0] is not None
    assert len(table) == 3


def test_when_all_are_busy_a_reserve_is_left_and_it_is_bounded_too() -> None:
    table = ConnectionTable(2)
    for key in ("a", "b"):
        table.answers(admitted(table, key), 0)
    for number in range(RESERVE):
        held = admitted(table, f"c{number}")
        assert held.reserve
        table.answers(held, 0)
    assert table.admit("d", 1) == (None, [])


def test_a_websocket_goes_only_when_it_has_been_silent_and_after_all_others() -> None:
    table = ConnectionTable(2)
    sockets = [admitted(table, "a"), admitted(table, "b")]
    for each in sockets:
        table.upgraded(each, 0)
    table.traffic(sockets[0], WEBSOCKET_SILENCE)
    assert table.admit("c", WEBSOCKET_SILENCE)[1] == [sockets[1]]
    held, closed = table.admit("d", WEBSOCKET_SILENCE + 1)
    assert held is not None
    assert closed
    assert sockets[0] in table, "the one that waits for a head went"


def test_handshakes_are_bounded_in_number() -> None:
    table = ConnectionTable(4096, per_address=4096)
    first = admitted(table, "a", tls=True)
    for _ in range(MAX_HANDSHAKES - 1):
        table.secured(admitted(table, "b", tls=True))
        admitted(table, "c", tls=True)
    assert table.admit("d", 0, tls=True)[1] == [first]


def test_a_trickle_of_octets_gains_no_time() -> None:
    table = ConnectionTable()
    held = admitted(table, "a")
    table.head_begins(held, HEAD_SECONDS - 1)
    assert table.overdue(HEAD_SECONDS) == [held]
    kept = admitted(table, "a")
    table.answers(kept, 1)
    table.answered(kept, 2)
    table.head_begins(kept, 3)
    table.head_begins(kept, 9)
    assert table.overdue(3 + HEAD_SECONDS - 0.1) == []
    assert table.overdue(3 + HEAD_SECONDS) == [kept]


def test_idle_connections_and_answers_that_are_not_read_end() -> None:
    table = ConnectionTable()
    idle, unread = admitted(table, "a"), admitted(table, "b")
    table.answers(idle, 0)
    table.answered(idle, 0)
    table.answers(unread, 0)
    assert table.overdue(IDLE_SECONDS) == [idle]
    assert table.overdue(ANSWER_SECONDS) == [unread]
    socket = admitted(table, "c")
    table.upgraded(socket, 0)
    assert table.overdue(1e9) == []
    table.ending(socket, 0)
    assert table.overdue(HEAD_SECONDS) == [socket]


def test_what_is_gone_takes_no_more_room_and_reports_about_it_change_nothing() -> None:
    table = ConnectionTable(2, per_address=2)
    held = admitted(table, "a")
    table.released(held)
    for report in (table.answers, table.answered, table.upgraded, table.traffic):
        report(held, 1)
    table.released(held)
    table.secured(held)
    assert len(table) == 0
    assert table.make_room(1) is None
    for _ in range(2):
        assert table.admit("a", 2)[1] == []
