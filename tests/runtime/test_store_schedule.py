"""When the keeper makes and compares stores: by given times, without NATS."""

from __future__ import annotations

import pytest

from antiphon.runtime.nats import setup, stores
from antiphon.runtime.nats.store_keeper import CHECK_EVERY, LOOK_EVERY, REFUSED_SECONDS, StoreSchedule
from antiphon.schemas import subjects

pytestmark = pytest.mark.pure


def test_everything_is_compared_at_the_start_and_once_a_minute_and_what_is_missing_at_each_look() -> None:
    schedule = StoreSchedule(["a", "b"])
    assert schedule.until_look(0.0) == 0
    assert schedule.due({"a", "b"}, 0.0) == ["a", "b"]
    assert schedule.until_look(0.1) == pytest.approx(LOOK_EVERY - 0.1)
    assert schedule.due({"a", "b"}, 1.0) == []
    assert schedule.due({"a"}, 1.5) == ["b"]
    assert schedule.due({"a", "b"}, CHECK_EVERY) == ["a", "b"]


def test_after_silence_of_nats_everything_is_compared_and_the_log_says_so_once() -> None:
    schedule = StoreSchedule(["a"])
    assert schedule.due({"a"}, 0.0) == ["a"]
    assert [schedule.failed(now) for now in (1.0, 2.0, 3.0)] == [True, False, False]
    assert schedule.due({"a"}, 4.0) == ["a"]
    assert schedule.failed(5.0)


def test_what_nats_refuses_is_tried_again_later_and_keeps_no_other_store_waiting() -> None:
    schedule = StoreSchedule(["a", "b"])
    assert schedule.due(set(), 0.0) == ["a", "b"]
    schedule.refused("a", 0.0)
    assert schedule.due(set(), 1.0) == ["b"]
    assert "a" in schedule.due({"b"}, REFUSED_SECONDS)
    schedule.done("a")
    assert schedule.due({"b"}, REFUSED_SECONDS + 1) == ["a"]


NO_WORDS = (subjects.BUCKET_SLOTS, *stores.HUB_STORES)


def test_every_store_is_bounded_and_read_by_key_and_words_are_in_memory() -> None:
    for store in stores.STORES.values():
        assert 0 < store.max_value <= store.max_bytes
        assert store.direct
        assert store.config()["storage"] == ("file" if store.name in NO_WORDS else "memory")


def test_a_difference_is_what_nats_has_otherwise_and_not_what_it_leaves_out() -> None:
    wanted = {"max_age": 0, "no_ack": True, "subjects": ["a"], "allow_direct": False}
    assert stores.difference({"no_ack": True, "subjects": ["a"], "num_replicas": 3}, wanted) == set()
    assert stores.difference({"subjects": ["a", "b"]}, wanted) == {"no_ack", "subjects"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ANTIPHON_LEASES_STORAGE", "disk"),
        ("ANTIPHON_LEASE_RETENTION_SECONDS", "soon"),
        ("ANTIPHON_LEASE_RETENTION_SECONDS", "nan"),
        ("ANTIPHON_LEASE_RETENTION_SECONDS", "60"),
        ("ANTIPHON_LEASE_RETENTION_SECONDS", "inf"),
    ],
)
def test_a_setting_that_can_t_be_used_is_named(variable: str, value: str) -> None:
    with pytest.raises(setup.SettingsError, match=f"{variable}: '{value}'"):
        setup.table_from({variable: value})


def test_leases_may_be_on_disk_for_as_long_as_the_operator_says() -> None:
    table = setup.table_from({"ANTIPHON_LEASES_STORAGE": "file", "ANTIPHON_LEASE_RETENTION_SECONDS": "3600"})
    lease = table[subjects.BUCKET_LEASES]
    assert (lease.storage, lease.ttl, lease.rewritten) == ("file", 3600.0, True)
