"""Which ingress number a relay claims, with the content of the bucket and the clock of the test's own."""

from __future__ import annotations

import pytest

from antiphon.relay.control.ingress_claim import CLAIM_SECONDS, RENEW_SECONDS, Claimed, IngressClaim, NumberTakenError
from antiphon.schemas.messages import NumberClaim

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0


class Bucket:
    """The keys of the bucket, by compare-and-swap."""

    def __init__(self) -> None:
        self.claims: dict[int, Claimed] = {}
        self.revision = 0

    def claim(self, by: IngressClaim, now: float = NOW, announced: frozenset[int] = frozenset()) -> bool:
        """One round of the relay; False if another one was there first."""
        write = by.choose(self.claims, announced, now)
        found = self.claims.get(write.number)
        if (found.revision if found is not None else 0) != write.revision:
            return False
        self.revision += 1
        self.claims[write.number] = Claimed(write.claim, self.revision)
        by.written(write)
        return True

    def put(self, number: int, holder: str, renewed_at: float = NOW) -> None:
        self.revision += 1
        claim = NumberClaim(holder=holder, process="p", renewed_at=renewed_at)
        self.claims[number] = Claimed(claim, self.revision)


def relay(name: str = "near", process: str = "p1", fixed: int | None = None, known: int = 0) -> IngressClaim:
    return IngressClaim(name, process, fixed, known)


def test_the_lowest_free_number_is_claimed() -> None:
    bucket = Bucket()
    bucket.put(1, "other")
    bucket.put(3, "third")
    near = relay()
    assert near.number == 0
    assert bucket.claim(near)
    assert near.number == 2
    assert bucket.claims[2].claim == NumberClaim(holder="near", process="p1", renewed_at=NOW)


def test_of_two_relays_that_claim_at_once_one_looks_again() -> None:
    bucket, one, two = Bucket(), relay("one"), relay("two")
    first, second = one.choose({}, (), NOW), two.choose({}, (), NOW)
    assert first.number == second.number == 1
    assert bucket.claim(one)
    assert bucket.claims[1].revision != second.revision  # so the bucket refuses it
    assert bucket.claim(two)
    assert (one.number, two.number) == (1, 2)


def test_a_restarted_relay_has_its_number_again_without_a_state_file() -> None:
    bucket = Bucket()
    bucket.put(1, "other")
    bucket.claim(relay())
    again = relay(process="p2")
    bucket.claims.pop(1)
    assert bucket.claim(again, NOW + 5 * CLAIM_SECONDS)
    assert again.number == 2


def test_two_processes_of_one_name_share_the_number_during_a_takeover() -> None:
    bucket, old, new = Bucket(), relay(process="old"), relay(process="new")
    bucket.claim(old)
    bucket.claim(new)
    assert old.number == new.number == 1
    assert old.holds(bucket.claims[1])
    assert not old.is_due(bucket.claims[1], NOW + RENEW_SECONDS - 1)
    assert old.is_due(bucket.claims[1], NOW + RENEW_SECONDS)
    assert old.is_due(bucket.claims[1], NOW - 1)  # a clock was set back


def test_a_claim_is_taken_over_only_after_it_ran_out_and_nobody_announces_it() -> None:
    bucket, near = Bucket(), relay()
    bucket.put(1, "gone", NOW - CLAIM_SECONDS + 1)
    bucket.claim(near)
    assert near.number == 2
    bucket, near = Bucket(), relay()
    bucket.put(1, "gone", NOW - CLAIM_SECONDS)
    bucket.claim(near, announced=frozenset({1}))  # it lives, and can't reach the hub
    assert near.number == 2
    bucket, near = Bucket(), relay()
    bucket.put(1, "gone", NOW - CLAIM_SECONDS)
    bucket.claim(near)
    assert near.number == 1


def test_what_is_no_claim_is_left_alone() -> None:
    bucket, near = Bucket(), relay()
    bucket.claims[1] = Claimed(None, 5)
    bucket.claim(near, NOW + 10 * CLAIM_SECONDS)
    assert near.number == 2


def test_a_relay_that_lost_its_number_claims_another_one() -> None:
    bucket, near = Bucket(), relay(known=4)
    assert near.number == 4
    bucket.put(4, "other")
    assert not near.holds(bucket.claims[4])
    assert bucket.claim(near)
    assert near.number == 1


def test_a_hub_that_lost_its_store_gets_the_number_again() -> None:
    bucket, near = Bucket(), relay(known=4)
    assert bucket.claim(near, announced=frozenset({4}))
    assert near.number == 4
    assert near.holds(bucket.claims[4])


def test_the_operators_number_is_in_use_at_once_and_claimed() -> None:
    bucket, near = Bucket(), relay(fixed=9, known=3)
    assert near.number == 9
    bucket.put(3, "near")
    assert bucket.claim(near)
    assert near.number == 9
    assert near.holds(bucket.claims[9])


def test_the_operators_number_is_not_taken_from_a_relay_that_has_it() -> None:
    bucket, near = Bucket(), relay(fixed=9)
    bucket.put(9, "other", NOW - 10)
    with pytest.raises(NumberTakenError, match="relay other has the number 9"):
        bucket.claim(near)
    assert near.number == 0
    assert bucket.claim(near, NOW + CLAIM_SECONDS)
    assert near.number == 9


def test_without_a_free_number_the_relay_has_none() -> None:
    bucket, near = Bucket(), relay(known=1)
    taken = NumberClaim(holder="other", process="p", renewed_at=NOW)
    bucket.claims = {number: Claimed(taken, number) for number in range(1, 65536)}
    with pytest.raises(NumberTakenError, match="all 65535"):
        bucket.claim(near)
    assert near.number == 0
