"""Audio levels in the header extensions of a caller's packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.rtp.audio_level import AudioLevels

pytestmark = pytest.mark.pure


@given(st.binary(max_size=64), st.integers(0, 20))
def test_no_extension_breaks_the_level_reader(rest: bytes, words: int) -> None:
    levels = AudioLevels(1, lambda level: None)
    size = 4 * words
    levels.receive(bytes([0x90]) + bytes(11) + b"\xbe\xde" + struct.pack("!H", words) + rest[:size].ljust(size, b"\0"))
