"""Keys of NATS users: as NATS' own tools write and read them."""

from __future__ import annotations

import base64

import pytest

from antiphon.runtime.nats import nkeys

pytestmark = pytest.mark.pure

# A pair of `nsc generate nkey --user`'s format, from the documentation of NATS (docs.nats.io, "NKeys").
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def test_the_public_key_of_a_seed_is_that_of_other_tools() -> None:
    assert nkeys.public_key(SEED) == PUBLIC


def test_a_new_seed_is_one_of_a_user_and_of_nobody_else() -> None:
    one, other = nkeys.new_seed(), nkeys.new_seed()
    assert one != other
    assert len(one) == len(SEED)
    assert one.startswith("SU")
    assert nkeys.public_key(one).startswith("U")
    assert len(base64.b64decode(nkeys.signature(one, "nonce"))) == 64


@pytest.mark.parametrize(
    "text",
    ["", "SU", SEED[:-1], SEED[:-1] + "A", SEED.lower(), PUBLIC, "x" * 58, "SAA" + SEED[3:], SEED + SEED, "=" * 58],
)
def test_what_is_no_seed_of_a_user_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(nkeys.NkeyError) as refused:
        nkeys.public_key(text)
    assert len(text) < 10 or text not in str(refused.value)
