"""Copies of calls in a second region: how they get there, and the lease that says who owns the calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from antiphon.schemas.messages.message import Message

Count = Annotated[int, Field(ge=0, le=1 << 53)]


class StoreCopy(Message):
    """A transceiver asks the second region to store a call's checkpoint, or to drop it: on `copy_store`.

    Answered by `CopyReply`, when the second region has stored it. The second region keeps it in `BUCKET_COPIES` as it
    came.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    """Of the transceiver that has the call, 12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    session_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """`rtc_` and 24 letters and digits."""
    generation: Count
    """Of the lease: a copy counts only while the lease has this number."""
    number: Count
    """Grows with each copy of the call: an older one never replaces a newer one."""
    sealed: str = Field(default="", max_length=480 << 10)
    """The session and the lease of its agent, in base64, encrypted under a key derived from the first cluster's
    password key, for this place and number."""
    ended: bool = False
    """The call is over, or has no copy any more: drop it. Nothing is in `sealed`."""
    taken_by: str = Field(default="", max_length=64)
    """In the bucket only: this process of the second region goes on with the call. No copy replaces that."""


class CopyReply(Message):
    """Whether the second region has stored a copy."""

    stored: bool
    """It is in the bucket, or was dropped as asked."""
    reason: Literal["", "stale", "taken", "no_key", "failed"] = ""
    """Why not: a newer one is there; the second region goes on with the call; it has no key that opens it."""
    message: str = Field(default="", max_length=1000)
    """For the person who reads the log."""


class CopyLease(Message):
    """Which process owns the calls of a transceiver that have copies: in a `LeaseRegister`.

    The owner renews it twice a second; it is 2 s long. What a majority of the registers holds counts.
    """

    cluster: int = Field(ge=0, lt=1 << 12)
    """Of the transceiver whose calls they are, 12 bit."""
    slot: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    epoch: int = Field(ge=0, lt=1 << 16)
    """16 bit, likewise."""
    holder: str = Field(max_length=64)
    """The process that owns them."""
    holder_cluster: int = Field(ge=0, lt=1 << 12)
    """The cluster of that process. Another one than `cluster`: that one goes on with the calls, for good."""
    generation: Count
    """Copies with this number count, others never."""
    withdrawn: bool = True
    """No copy counts, those of this generation included: the owner may use counters that no copy has confirmed."""
    number: Count
    """Grows with each renewal."""
    adopted: bool = False
    """The process of the other cluster is done: every call that it could adopt has been."""


class LeaseRegister(Message):
    """One of the registers of a copy lease: in the hub's buckets `copy_lease_bucket`, each on a server of its own.

    Written by compare-and-swap only. A process first has its ballot (a round and its own name) promised by a majority,
    and then gives them a lease.
    """

    registers: int = Field(ge=1, le=9)
    """How many there are: all processes have to agree on it."""
    promised_round: Count = 0
    """The newest ballot that the register has promised: it takes nothing of an older one."""
    promised_to: str = Field(default="", max_length=96)
    """The process that has that ballot, and a random part."""
    accepted_round: Count = 0
    """The ballot that the lease was written under."""
    accepted_of: str = Field(default="", max_length=96)
    """Likewise."""
    number: Count = 0
    """Grows by one with each lease that replaces another one."""
    lease: CopyLease | None = None
    """None: only promised yet."""
