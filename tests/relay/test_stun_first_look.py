"""The relay's first look at STUN agrees with the codec that transceivers and clients use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.relay.core.stun import HEADER_LENGTH, MAGIC_COOKIE, USERNAME, addressed_ufrag, is_binding_request
from antiphon.rtc import stun
from antiphon.schemas.route_token import UFRAG_LENGTH

pytestmark = pytest.mark.pure

UFRAGS = st.text(st.sampled_from("abcXYZ019+/"), min_size=UFRAG_LENGTH, max_size=UFRAG_LENGTH)


def test_the_constants_are_those_of_the_codec() -> None:
    assert (HEADER_LENGTH, USERNAME) == (stun.HEADER_LENGTH, stun.USERNAME)
    assert int.from_bytes(MAGIC_COOKIE, "big") == stun.MAGIC_COOKIE


@given(UFRAGS, st.booleans())
def test_a_request_of_the_codec_is_one_for_the_relay_too(ufrag: str, use_candidate: bool) -> None:
    request = stun.pack_binding_request(f"{ufrag}:peer", b"secret", bytes(12), 1, use_candidate=use_candidate)
    assert is_binding_request(request)
    assert addressed_ufrag(memoryview(request)) == stun.unpack_binding_request(request).local_ufrag.encode()
