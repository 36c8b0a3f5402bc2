"""The prefilter says of a whole batch what the keyring says of each ufrag."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes.relay_process import ROUTE_KEYS, binding_request, mint

from antiphon.relay.dataplane.mmsg import Batch
from antiphon.relay.dataplane.token_prefilter import USERNAME_FIRST, TokenPrefilter
from antiphon.schemas.route_token import RouteKeyring

pytestmark = pytest.mark.pure

OTHER = "B:ffeeddccbbaa99887766554433221100"
BATCH = Batch(64)


@given(
    st.lists(st.sampled_from(["good", "other", "forged", "noise", "spelling"]), min_size=1, max_size=64), st.integers()
)
def test_no_good_token_is_taken_for_a_forgery_and_hardly_a_forgery_for_good(kinds: list[str], seed: int) -> None:
    draw = random.Random(seed)
    keyring = RouteKeyring.from_text(f"{ROUTE_KEYS},{OTHER}")
    for row, kind in enumerate(kinds):
        datagram = {
            "good": lambda: binding_request(mint(slot=draw.randrange(100))),
            "other": lambda: binding_request(mint(keys=OTHER)),
            "forged": lambda: binding_request("A" + "".join(draw.choices("abcXYZ019+/", k=22))),
            "noise": lambda: draw.randbytes(100),
            "spelling": lambda: binding_request("A" + "".join(draw.choices("abc\x7f=. ", k=22))),
        }[kind]()
        BATCH.datagram(row, len(datagram))[:] = datagram
    prefilter = TokenPrefilter(BATCH)
    opened = prefilter.may_open(keyring, len(kinds))
    assert opened == {row for row, kind in enumerate(kinds) if kind in ("good", "other")}
    first = prefilter.first_attributes(len(kinds))
    assert all((attribute == USERNAME_FIRST) == (kind != "noise") for kind, attribute in zip(kinds, first, strict=True))
