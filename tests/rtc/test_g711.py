"""Both laws of G.711, against the numbers of the standard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.media import g711
from antiphon.rtc.media.g711 import Samples

pytestmark = pytest.mark.pure

LAWS = [(g711.encode_ulaw, g711.decode_ulaw), (g711.encode_alaw, g711.decode_alaw)]
Encode = Callable[[Samples], bytes]
Decode = Callable[[bytes | bytearray], Samples]
ALL_CODES = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)


def test_the_ends_of_the_scales_have_the_codes_of_the_standard() -> None:
    ends = np.array([0, 32767, -32768], np.int16)
    assert g711.encode_ulaw(ends) == b"\xff\x80\x00"
    assert g711.decode_ulaw(b"\xff\x80\x00").tolist() == [0, 32124, -32124]
    assert g711.encode_alaw(ends) == b"\xd5\xaa\x2a"
    assert g711.decode_alaw(b"\xd5\xaa\x2a").tolist() == [8, 32256, -32256]


@pytest.mark.parametrize(("encode", "decode"), LAWS)
def test_a_decoded_code_is_encoded_as_itself(encode: Encode, decode: Decode) -> None:
    again = encode(decode(ALL_CODES))
    assert [code for code in ALL_CODES if again[code] != code] in ([], [0x7F])  # mu-law has a second zero


@pytest.mark.parametrize(("encode", "decode"), LAWS)
def test_every_sample_keeps_its_sign_and_is_off_by_a_32nd_or_less(encode: Encode, decode: Decode) -> None:
    """Each segment has 16 steps, so the middle of a step is at most a 32nd of the value away."""
    decoded, samples = decode(encode(EVERY_SAMPLE)).astype(int), EVERY_SAMPLE.astype(int)
    clipped = np.clip(samples, -32635, 32635)
    assert (np.abs(decoded - clipped) <= np.abs(clipped) / 32 + 8).all()
    assert (decoded * samples >= 0).all()
    assert (np.diff(decoded) >= 0).all()


@given(st.binary(max_size=500))
@pytest.mark.parametrize("decode", [decode for _, decode in LAWS])
def test_any_octets_are_samples(decode: Decode, codes: bytes) -> None:
    assert decode(codes).dtype == np.int16
    assert len(decode(codes)) == len(codes)
    assert decode(bytearray(codes)).tolist() == decode(codes).tolist()
