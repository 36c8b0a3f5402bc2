"""Which relays of other clusters answer, and how far away they are: hellos, round trips, and when a relay is out.

    new ---an answer---> answering ---3 hellos in a row missed, or an ICMP error---> out ---an answer---> answering
    new ---3 hellos missed, or an ICMP error---> out

Each address gets a hello every second. A hello is missed when its answer has not come within the usual round trip and
four deviations (RFC 6298), at least 0.15 s. From the first that is missed on they are sent 100 ms apart: a relay that
stops is out after 1.4 s at the latest, and later by as much as its round trip is longer than 0.15 s.

Any host can forge an ICMP error. So a hello goes out at once after one. If that is answered the error was false, and
for a while further ones of this address count only while a hello is missed.

After a start, an ingress asks each cluster for its clients: a hello with a flag, to another of the cluster's addresses
each time, again until one is answered and then three times more. UDP loses, and so do relays that have just started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from antiphon.schemas.backbone import HELLO, Hello

HELLO_SECONDS: Final = 1.0
AFTER_A_MISS_SECONDS: Final = 0.1
MISSED_UNTIL_OUT: Final = 3
LEAST_TIMEOUT: Final = 0.15
FIRST_TIMEOUT: Final = 0.5
"""Until a round trip is known; the longest between two regions is 0.35 s."""
REMEMBERED_SECONDS: Final = 5.0
"""A later answer counts for nothing."""
MAX_UNANSWERED: Final = 16
"""Hellos of one address that are remembered."""
MAX_AT_ONCE: Final = 64
"""Hellos of one `due`: a table of 4096 addresses must not fill the socket's buffer."""
STANDSTILL_SECONDS: Final = 0.5
"""A process that has not looked for so long has not read the answers either: what it waits for is asked anew."""
PROBE_SECONDS: Final = 0.08
"""A hello that was sent so soon after an ICMP error and is answered says that the error was false: no relay that was
killed starts again so fast."""
DOUBT_SECONDS: Final = 30.0
"""For so long after a false ICMP error others of that address are doubted."""
ASK_AGAIN_SECONDS: Final = 0.5
ASK_AFTER_ANSWER: Final = (0.3, 0.9, 1.3)
"""Seconds after each answer until the clients are asked for once more."""
LEARN_SECONDS: Final = 5.0
"""A cluster's bare headers make flows known for so long after it was asked for them: a recorded one that is sent
again later makes none."""


class DueHello(NamedTuple):
    """A hello to be sent."""

    address: int
    hello: Hello


class _Sent(NamedTuple):
    at: float
    asks: bool


class _Address:
    """One worker of another relay."""

    __slots__ = (
        "answering",
        "cluster",
        "doubted_until",
        "due",
        "failed_at",
        "last_sent",
        "missed",
        "pending",
        "sent",
        "smoothed",
        "variation",
    )

    def __init__(self, cluster: int, now: float) -> None:
        self.cluster = cluster
        self.due = now
        self.sent: dict[bytes, _Sent] = {}
        self.pending: dict[bytes, float] = {}
        """Those of `sent` that are neither answered nor missed: when."""
        self.missed = 0
        self.answering: bool | None = None
        """None: new."""
        self.failed_at: float | None = None
        """When an ICMP error put it out; None: it has answered since, or hellos were missed."""
        self.last_sent = float("-inf")
        self.doubted_until = float("-inf")
        """ICMP errors were false before: until then they count only while a hello is missed."""
        self.smoothed: float | None = None
        self.variation = 0.0

    @property
    def timeout(self) -> float:
        if self.smoothed is None:
            return FIRST_TIMEOUT
        return max(LEAST_TIMEOUT, self.smoothed + 4 * self.variation)

    def measured(self, seconds: float) -> None:
        if self.smoothed is None:
            self.smoothed, self.variation = seconds, seconds / 2
        else:
            self.variation += (abs(seconds - self.smoothed) - self.variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8


class _Asking:
    """How far the clients of one cluster have been asked for."""

    __slots__ = ("answers", "attempts", "due", "last")

    def __init__(self, now: float) -> None:
        self.due: float | None = now
        self.last = float("-inf")
        self.attempts = 0
        self.answers = 0


class BackboneHellos:
    """The hellos of one worker to all addresses of other clusters' relays.

    Belongs to a worker's `TwoHops`, which alone calls it. Bounded by the table of relays.
    """

    def __init__(self, asking: bool, pick: Callable[[int, int], int | None]) -> None:
        """`asking`: clusters are asked for the clients of this ingress; `pick(cluster, number)` chooses an address."""
        self._asking = asking
        self._pick = pick
        self._addresses: dict[int, _Address] = {}
        self._asked: dict[int, _Asking] = {}
        self._counter = 0
        self._looked = float("-inf")
        self.next_due = 0.0
        """When `due` has something to do again."""

    def set_addresses(self, cluster_of: Mapping[int, int], now: float) -> None:
        """These addresses are announced, and no others."""
        former = self._addresses
        self._addresses = {}
        for address, cluster in cluster_of.items():
            known = former.get(address)
            self._addresses[address] = known if known and known.cluster == cluster else _Address(cluster, now)
        if self._asking:
            # A cluster that comes back after a while is asked no second time: its flows were kept.
            clusters = {cluster for cluster in cluster_of.values() if cluster not in self._asked}
            self._asked.update((cluster, _Asking(now)) for cluster in clusters)

    def ask_again(self, now: float) -> None:
        """Flows may come here from another process: ask all clusters for their clients."""
        self._asked = {cluster: _Asking(now) for cluster in self._asked}

    def learns_from(self, cluster: int, now: float) -> bool:
        """Whether bare headers of this cluster make flows known now."""
        asked = self._asked.get(cluster)
        return asked is not None and now - asked.last <= LEARN_SECONDS

    def is_answering(self, address: int) -> bool | None:
        """None: not known yet."""
        known = self._addresses.get(address)
        return known.answering if known is not None else None

    # ---- hellos ----

    def due(self, ingress: int, now: float) -> tuple[list[DueHello], bool]:
        """The hellos to be sent now; and whether an address is out since the last time."""
        stood_still = now - self._looked > STANDSTILL_SECONDS
        self._looked = now
        changed = False
        hellos: list[DueHello] = []
        next_due = float("inf")
        for number, known in self._addresses.items():
            if stood_still:
                known.pending.clear()
                known.due = min(known.due, now)
            changed |= self._count_missed(known, now)
            if now >= known.due and len(hellos) < MAX_AT_ONCE:
                hellos.append(self._hello(number, known, ingress, False, now))
                hurried = known.missed and known.answering is not False
                probes = known.failed_at is not None and now - known.failed_at < AFTER_A_MISS_SECONDS
                known.due = now + (AFTER_A_MISS_SECONDS if hurried or probes else HELLO_SECONDS)
            next_due = min(next_due, known.due)
            if known.pending:
                next_due = min(next_due, next(iter(known.pending.values())) + known.timeout)
        if ingress:
            hellos += self._due_questions(ingress, now)
            questions = (each.due for each in self._asked.values() if each.due is not None)
            next_due = min(next_due, min(questions, default=next_due))
        self.next_due = next_due
        return hellos, changed

    @staticmethod
    def _count_missed(known: _Address, now: float) -> bool:
        timeout = known.timeout
        for stamp, at in list(known.pending.items()):
            if now - at < timeout:
                break
            del known.pending[stamp]
            known.missed = min(known.missed + 1, MISSED_UNTIL_OUT)
            if known.answering is not False:
                known.due = min(known.due, now)
        if known.missed < MISSED_UNTIL_OUT or known.answering is False:
            return False
        known.answering, known.due = False, now + AFTER_A_MISS_SECONDS
        return True

    def _due_questions(self, ingress: int, now: float) -> list[DueHello]:
        hellos = []
        for cluster, asked in self._asked.items():
            if asked.due is None or now < asked.due:
                continue
            asked.due = now + ASK_AGAIN_SECONDS
            address = self._pick(cluster, asked.attempts)
            known = self._addresses.get(address) if address is not None else None
            if address is None or known is None:
                continue
            asked.attempts += 1
            asked.last = now
            hellos.append(self._hello(address, known, ingress, True, now))
        return hellos

    def _hello(self, address: int, known: _Address, ingress: int, asks: bool, now: float) -> DueHello:
        # The clock, which no host outside can read, and a number: an answer that was guessed fits no hello.
        self._counter = (self._counter + 1) & 0xFFFF
        stamp = ((int(now * 1e6) & 0xFFFFFFFFFFFF) << 16 | self._counter).to_bytes(8, "big")
        while len(known.sent) >= MAX_UNANSWERED:
            del known.sent[next(iter(known.sent))]
        known.sent[stamp] = _Sent(now, asks)
        known.last_sent = now
        known.pending[stamp] = now
        return DueHello(address, Hello(HELLO, ingress, asks, stamp))

    def answered(self, address: int, stamp: bytes, now: float) -> bool | None:
        """An answer came: whether the address takes packets again; None if no hello fits to it."""
        known = self._addresses.get(address)
        sent = known.sent.pop(stamp, None) if known is not None else None
        if known is None or sent is None or now - sent.at > REMEMBERED_SECONDS:
            return None
        known.pending.pop(stamp, None)
        known.measured(max(0.0, now - sent.at))
        if known.missed:
            known.missed, known.due = 0, sent.at + HELLO_SECONDS
        if sent.asks:
            self._question_answered(known.cluster, now)
        if known.failed_at is not None and sent.at - known.failed_at <= PROBE_SECONDS:
            known.doubted_until = now + DOUBT_SECONDS
        known.failed_at = None
        came_back = known.answering is not True
        known.answering = True
        return came_back

    def _question_answered(self, cluster: int, now: float) -> None:
        asked = self._asked.get(cluster)
        if asked is not None and asked.due is not None:
            asked.answers += 1
            over = asked.answers > len(ASK_AFTER_ANSWER)
            asked.due = None if over else now + ASK_AFTER_ANSWER[asked.answers - 1]

    def failed(self, address: int, now: float) -> bool:
        """The network says that nothing takes packets at this address; whether that is believed and was not known.

        A hello is due soon after, which tells.
        """
        known = self._addresses.get(address)
        if known is None:
            return False
        if now < known.doubted_until and not known.missed:
            known.due = min(known.due, max(now, known.last_sent + AFTER_A_MISS_SECONDS))
            return False
        if known.answering is False:
            return False
        known.answering, known.missed = False, MISSED_UNTIL_OUT
        known.pending.clear()
        known.sent.clear()  # an answer that was under way already says nothing about now
        known.failed_at = known.due = now
        return True

    # ---- what was measured ----

    def nearest(self) -> dict[int, float]:
        """Cluster -> the smallest smoothed round trip to one of its addresses, in seconds."""
        nearest: dict[int, float] = {}
        for known in self._addresses.values():
            if known.answering and known.smoothed is not None:
                nearest[known.cluster] = min(nearest.get(known.cluster, float("inf")), known.smoothed)
        return nearest

    def all_out(self, addresses: Iterable[int]) -> bool:
        """Whether all of these are out."""
        return all(self.is_answering(each) is False for each in addresses)


def usable(ready: Sequence[int], draining: Sequence[int], answering: Callable[[int], bool | None]) -> Sequence[int]:
    """Of a cluster's addresses, those that packets go to.

    The ready ones that answer; else draining ones that answer; else new ones. If none answers all are tried: nothing is
    lost by it, and the relay that comes back first is used at once.
    """
    answer = [address for address in ready if answering(address)]
    if answer:
        return answer
    answer = [address for address in draining if answering(address)]
    if answer:
        return answer
    return [address for address in ready if answering(address) is None] or ready or draining
