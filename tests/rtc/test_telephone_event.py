"""Telephone keys in a caller's packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.rtp.telephone_event import TelephoneEvents
from antiphon.schemas import messages

pytestmark = pytest.mark.pure


def key(event: int, duration: int, end: bool = False) -> bytes:
    return struct.pack("!BBH", event, 0x80 if end else 0, duration)


def test_each_key_is_told_once_however_often_its_end_is_repeated() -> None:
    told: list[messages.TelephoneEvent] = []
    keys = TelephoneEvents(8000, told.append)
    for press, event in enumerate((1, 1, 11)):
        for duration in (160, 320, 480):
            keys.receive(press * 4000, key(event, duration))
        for _ in range(3):
            keys.receive(press * 4000, key(event, 640, end=True))
    assert [(each.event, each.duration_ms) for each in told] == [(1, 80.0), (1, 80.0), (11, 80.0)]


def test_a_key_whose_end_was_lost_is_told_when_the_next_one_begins_and_stragglers_are_ignored() -> None:
    told: list[messages.TelephoneEvent] = []
    keys = TelephoneEvents(8000, told.append)
    keys.receive(0, key(3, 400))
    keys.receive(4000, key(4, 160))
    keys.receive(0, key(3, 640, end=True))
    keys.receive(4000, key(4, 320, end=True))
    assert [(each.event, each.duration_ms) for each in told] == [(3, 50.0), (4, 40.0)]


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=8))
def test_no_payload_breaks_the_reader(timestamp: int, payload: bytes) -> None:
    TelephoneEvents(8000, lambda event: None).receive(timestamp, payload)
