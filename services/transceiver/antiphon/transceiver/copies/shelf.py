"""What may be stored in the place of which copy. Pure.

Requests may be late, lost, repeated and out of order, and several processes of the second region store them. Each swaps
what it has read, so that these rules hold between what is stored and what comes.
"""

from __future__ import annotations

from typing import Literal

from antiphon.schemas.messages import StoreCopy

Verdict = Literal["store", "is_stored", "stale", "taken"]


def verdict(stored: StoreCopy | None, coming: StoreCopy) -> Verdict:
    """What to do with a copy that comes where this one is stored.

    A call that the second region has taken stays taken: no further block of the old owner is confirmed.
    """
    if stored is None:
        return "store"
    if stored.taken_by:
        return "taken"
    here, there = (stored.generation, stored.number), (coming.generation, coming.number)
    if there == here:
        return "is_stored"
    return "store" if there > here else "stale"


def taken(stored: StoreCopy, process_id: str) -> StoreCopy:
    """What is in its place from then on."""
    return stored.model_copy(update={"sealed": "", "taken_by": process_id})


def counts(stored: StoreCopy, generation: int) -> bool:
    """Whether the copy may be adopted under a lease with this generation, which is not withdrawn."""
    return stored.generation == generation and not stored.ended and not stored.taken_by and bool(stored.sealed)
