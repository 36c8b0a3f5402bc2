"""Signed moves of slots become the table that workers rewrite by, with a clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.relay.control.ipc import MAX_LINE, Moves, pack
from antiphon.relay.control.slot_move_table import (
    MAX_CHECKS_PER_SECOND,
    MAX_MOVES,
    MOVE_SECONDS,
    SlotMoveTable,
)
from antiphon.schemas.messages import SlotMoved
from antiphon.schemas.slot_moves import AnnouncementKey, ClusterKeys, SlotMove

pytestmark = pytest.mark.pure

KEY = AnnouncementKey(bytes(range(32)))
OTHER = AnnouncementKey(bytes(32))
OLD, FIRST, SECOND = (1, 5, 9), (2, 6, 10), (3, 7, 11)


def moved(
    new: tuple[int, int, int] = FIRST, made_at: int = 1000, key: AnnouncementKey = KEY, old: tuple[int, int, int] = OLD
) -> SlotMoved:
    signature = key.sign(SlotMove(old, new, made_at))
    names = ("cluster", "slot", "epoch", "to_cluster", "to_slot", "to_epoch")
    return SlotMoved.model_validate(
        dict(zip(names, (*old, *new), strict=True)) | {"made_at": made_at, "signature": signature}
    )


def table() -> SlotMoveTable:
    return SlotMoveTable(ClusterKeys.from_text(f"1:{KEY.public},4:{OTHER.public}"))


def ways(of: SlotMoveTable) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    return {move.old: move.new for move in of.moves()}


def test_a_signed_move_counts_and_its_repetitions_change_nothing() -> None:
    moves = table()
    assert moves.update(moved(), 0.0)
    assert not moves.update(moved(), 1.0)
    assert not moves.update(moved(made_at=1500), 2.0)  # signed anew each second
    assert ways(moves) == {OLD: FIRST}


def test_only_the_lost_cluster_can_sign(caplog: pytest.LogCaptureFixture) -> None:
    moves = table()
    assert not moves.update(moved(key=OTHER), 0.0)
    assert not moves.update(moved(old=(2, 1, 1), new=(1, 1, 1)), 0.0)  # a cluster without a key here
    assert not moves.update(moved().model_copy(update={"to_slot": 99}), 0.0)
    assert ways(moves) == {}
    assert "cluster 1 without that cluster's signature" in caplog.text
    assert not SlotMoveTable(ClusterKeys.from_text("")).update(moved(), 0.0)


def test_of_two_moves_the_later_one_counts_in_whatever_order_they_come() -> None:
    moves = table()
    assert moves.update(moved(SECOND, 2000), 0.0)
    assert not moves.update(moved(FIRST, 1000), 1.0)
    assert not moves.update(moved(FIRST, 2000), 2.0)  # the same moment: the one that is known
    assert ways(moves) == {OLD: SECOND}
    assert moves.update(moved(FIRST, 3000), 3.0)
    assert ways(moves) == {OLD: FIRST}


def test_a_replayed_move_moves_nothing_back_also_after_the_later_one_expired() -> None:
    moves = table()
    moves.update(moved(FIRST, 1000), 0.0)
    moves.update(moved(SECOND, 2000), 1.0)
    assert moves.expire(MOVE_SECONDS + 1.1, bus_alive=True)
    assert ways(moves) == {}
    assert not moves.update(moved(FIRST, 1000), MOVE_SECONDS + 2)
    assert ways(moves) == {}
    assert moves.update(moved(SECOND, 2000), MOVE_SECONDS + 3)  # the transceiver was cut off for long, and is back
    assert ways(moves) == {OLD: SECOND}


def test_a_move_is_kept_when_the_calls_that_were_adopted_last_have_ended() -> None:
    """A transceiver announces the time of the latest adoption of those of its calls that still run."""
    moves = table()
    moves.update(moved(FIRST, 2000), 0.0)
    for second in range(1, int(MOVE_SECONDS) + 100):
        assert not moves.update(moved(FIRST, 1500), float(second))
        assert not moves.expire(float(second), bus_alive=True)
    assert ways(moves) == {OLD: FIRST}
    assert not moves.update(moved(SECOND, 1800), MOVE_SECONDS)
    assert not moves.update(moved(FIRST, 1500).model_copy(update={"made_at": 1600}), 2 * MOVE_SECONDS)
    assert moves.expire(3 * MOVE_SECONDS, bus_alive=True)


def test_a_move_is_kept_while_nats_is_away() -> None:
    moves = table()
    moves.update(moved(), 0.0)
    away = 5 * MOVE_SECONDS
    assert not moves.expire(away, bus_alive=False)
    assert not moves.expire(away + MOVE_SECONDS - 1, bus_alive=True)
    assert moves.expire(away + MOVE_SECONDS + 1, bus_alive=True)


def test_the_number_of_moves_is_bounded_and_expired_ones_make_room() -> None:
    moves = table()
    for number in range(MAX_MOVES):
        assert moves.update(moved(old=(1, number, 65535), new=(2, 65535, number)), number / 100)
    assert len(pack(Moves([(move.old, move.new) for move in moves.moves()]))) < MAX_LINE
    assert not moves.update(moved(old=(1, 1, 2)), 50.0)
    assert moves.expire(MOVE_SECONDS + 0.5, bus_alive=True)
    assert moves.update(moved(old=(1, 1, 2)), MOVE_SECONDS + 1)
    assert not moves.update(moved(old=(1, MAX_MOVES - 1, 65535), new=(2, 65535, MAX_MOVES - 1)), MOVE_SECONDS + 1)
    assert len(moves.moves()) == MAX_MOVES - 50


def test_a_flood_of_forged_moves_costs_a_bounded_number_of_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    keys = ClusterKeys.from_text(f"1:{KEY.public}")
    verify = ClusterKeys.verify

    def counted(keys: ClusterKeys, move: SlotMove, signature: str) -> None:
        checked.append(1)
        verify(keys, move, signature)

    monkeypatch.setattr(ClusterKeys, "verify", counted)
    moves = SlotMoveTable(keys)
    forged = moved().model_copy(update={"signature": "0" * 128})
    for _ in range(2 * MAX_CHECKS_PER_SECOND):
        assert not moves.update(forged, 0.5)
    assert len(checked) == MAX_CHECKS_PER_SECOND
    assert moves.update(moved(), 1.6)


def test_what_was_saved_is_there_after_a_restart() -> None:
    moves = table()
    moves.update(moved(SECOND, 2000), 0.0)
    again = table()
    again.restore(moves.moves(), 10.0)
    assert ways(again) == {OLD: SECOND}
    assert not again.update(moved(FIRST, 1000), 11.0)
    assert not again.update(moved(SECOND, 2000), 11.0)
    assert ways(again) == {OLD: SECOND}
