"""Which faults there are, and which ones a seed draws. Pure: `injection` carries them out.

A fault strikes one part of a stack of `antiphon up`, or the whole stack, or the ways between the parts.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

SERVICES: Final = ("relay", "transceiver", "signaling", "inference-bridge", "echo")
PARTS: Final = (*SERVICES, "nats")
CONSENT: Final = 20.0
"""A call bears a silence of its client of 30 s (`antiphon.transceiver.ice.consent`); beyond this, it may end."""
AGENT_GRACE: Final = 9.0
"""A call whose only agent is silent gets an apology after 10 s and a hang-up
(`antiphon.runtime.agent_sessions.abandoned`); beyond this, it may end."""


class Kind(NamedTuple):
    """One kind of fault: a row of `KINDS`."""

    parts: tuple[str, ...]
    """Where it may strike."""
    shortest: float = 0.0
    longest: float = 0.0
    """Seconds; both 0: it takes no time."""
    weight: int = 1
    """How often it is drawn, compared with the other kinds."""
    ends_calls_of: tuple[str, ...] = ()
    """Parts on which it may end calls at any length."""
    silences: tuple[str, ...] = ()
    """Parts on which it keeps packets of the client from the session: above `CONSENT` seconds a call may end."""
    stills: tuple[str, ...] = ()
    """Parts on which it keeps the agent from its calls: above `AGENT_GRACE` seconds these may end."""


KINDS: Final = {
    "kill": Kind(PARTS, weight=3),
    # A transceiver that ends in order and has no other beside it tells its clients to call again.
    "terminate": Kind(PARTS, weight=3, ends_calls_of=("transceiver",)),
    "stop": Kind(
        (*PARTS, "everything"), 0.4, 30.0, weight=3, silences=("relay", "transceiver", "everything"), stills=("echo",)
    ),
    # Stopped and continued forty times a second: a machine that has too little time for it.
    "stutter": Kind((*PARTS, "everything"), 0.5, 5.0),
    "cut": Kind(("nats", "tunnel", "client"), 0.4, 12.0, weight=2, silences=("tunnel", "client")),
    "restart-without-store": Kind(("nats",), weight=2),
    "disk-full": Kind(("nats",), 1.0, 10.0),
    "no-descriptors": Kind(PARTS, 1.0, 10.0, weight=2),
    "no-memory": Kind(SERVICES, 1.0, 5.0, weight=2, ends_calls_of=("transceiver",)),
    "clock": Kind(("everything",), 1.0, 10.0, weight=2),
}


class Fault(NamedTuple):
    """One fault as drawn. A value."""

    kind: str
    part: str
    seconds: float
    amount: float = 0.0
    """Of a clock: by how many seconds the wall clock of all parts but NATS jumps, and back afterwards."""

    def __str__(self) -> str:
        text = f"{self.kind} {self.part}"
        if self.seconds:
            text += f" for {self.seconds:.1f} s"
        return f"{text} by {self.amount:+.0f} s" if self.amount else text

    @property
    def calls_survive(self) -> bool:
        """Running calls have to be there afterwards."""
        kind = KINDS[self.kind]
        borne = {CONSENT: kind.silences, AGENT_GRACE: kind.stills}
        too_long = any(self.part in parts and self.seconds > seconds for seconds, parts in borne.items())
        return self.part not in kind.ends_calls_of and not too_long


def draw(seed: int, count: int, longest: float = 30.0) -> list[Fault]:
    """`count` faults, always the same of one seed, none longer than `longest` seconds.

    The first ones are one of each kind, so that a short run misses none while `count` lets it.
    """
    dice = random.Random(seed)
    kinds = list(KINDS)
    dice.shuffle(kinds)
    weights = [kind.weight for kind in KINDS.values()]
    kinds += dice.choices(list(KINDS), weights, k=max(0, count - len(kinds)))
    return [_one(dice, name, longest) for name in kinds[:count]]


def _one(dice: random.Random, name: str, longest: float) -> Fault:
    kind = KINDS[name]
    upper = min(kind.longest, longest)
    # Short ones are more frequent: a log scale.
    seconds = round(kind.shortest * (upper / kind.shortest) ** dice.random(), 2) if kind.longest else 0.0
    amount = dice.choice((-7200.0, -40.0, -2.0, 2.0, 40.0, 7200.0)) if name == "clock" else 0.0
    return Fault(name, dice.choice(kind.parts), seconds, amount)
