"""Telephone keys and audio levels in a caller's packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.schemas import messages
from antiphon.transceiver.media.side_signals import AudioLevels, TelephoneEvents

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


@given(st.binary(max_size=64), st.integers(0, 20))
def test_no_extension_breaks_the_level_reader(rest: bytes, words: int) -> None:
    levels = AudioLevels(1, lambda level: None)
    size = 4 * words
    levels.receive(bytes([0x90]) + bytes(11) + b"\xbe\xde" + struct.pack("!H", words) + rest[:size].ljust(size, b"\0"))
