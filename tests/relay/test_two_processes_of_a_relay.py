"""One relay with two processes for a moment, and keys that change: what a worker of another relay makes of it."""

from __future__ import annotations

import pytest

from antiphon.relay.core.backbone_table import Relay
from antiphon.relay.core.two_hops import TwoHops, TwoHopsSettings
from antiphon.schemas.backbone import BackboneKeys

pytestmark = pytest.mark.pure

OLD, NEW, OTHER = 11, 12, 13
KEY, NEXT = "ab" * 32, "cd" * 32


def worker(keys: str = "") -> TwoHops:
    return TwoHops(TwoHopsSettings(1, 2, 0, BackboneKeys.from_text(keys)), True, {})


def test_both_processes_of_an_ingress_are_believed_and_one_gets_the_replies() -> None:
    two_hops = worker()
    two_hops.set_relays(
        [
            Relay(None, "near", 7, False, (OLD,)),
            Relay(None, "near", 7, True, (NEW,)),
            Relay(None, "thief", 7, True, (OTHER,)),
        ],
        0.0,
    )
    assert two_hops.ingress_of_source.keys() == {OLD, NEW}
    assert [two_hops.has_number(two_hops.table.relay_at[each]) for each in (OLD, NEW, OTHER)] == [True, True, False]
    assert two_hops.worker_of(7, 0) == NEW
    assert set(two_hops.workers_of(7)) == {OLD, NEW}  # bare headers: each learns the clients


def test_keys_change_in_a_running_worker_but_tags_are_neither_turned_on_nor_off() -> None:
    tagged, plain = worker(KEY), worker()
    tagged.set_keys(BackboneKeys.from_text(f"{NEXT},{KEY}"))
    assert tagged.keys.live == 2
    tagged.set_keys(BackboneKeys.from_text(""))
    assert tagged.keys.live == 2
    plain.set_keys(BackboneKeys.from_text(KEY))
    assert not plain.keys.tagged
