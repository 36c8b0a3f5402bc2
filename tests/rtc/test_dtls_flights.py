"""Handshakes over a path that loses, doubles and delays datagrams, in virtual time: both ends get the keys."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from antiphon.rtc.dtls import records
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.dtls.handshake import Keys
from antiphon.rtc.dtls.record_layer import APPLICATION_DATA, DtlsRecords
from antiphon.rtc.dtls.setup import UNASKED, DtlsSetup
from antiphon.rtc.rtp.srtp_state import SrtpState

pytestmark = pytest.mark.pure

STEP = 0.005
ONE_WAY = 0.05
OURS, THEIRS = Certificate(), Certificate()
Lose = Callable[[int, bytes], bool]
"""Whether the nth datagram of a direction is lost."""


class End:
    """One end: the setup, and the records after it, as a session or a client has them."""

    def __init__(self, client: bool, own: Certificate, peer: Certificate) -> None:
        self.keys: Keys | None = None
        self.done_at = self.may_send_at = float("inf")
        self.send_keys: SrtpState | None = None
        self.failure: str | None = None
        self.sent: list[tuple[float, bytes]] = []
        self.waiting: list[bytes] = []
        self.opened: list[bytes] = []
        self.records: DtlsRecords | None = None
        self.now = 0.0
        fingerprints = [("sha-256", peer.fingerprint)]
        unasked = () if client else UNASKED
        self.setup = DtlsSetup(own, fingerprints, client, self.send, self._done, self._failed, self._may_send, unasked)
        self.setup.begin(0.0)

    def send(self, data: bytes) -> None:
        self.sent.append((self.now, data))
        self.waiting.append(data)

    def _may_send(self, keys: SrtpState, now: float) -> None:
        self.send_keys, self.may_send_at = keys, now

    def _failed(self, text: str, now: float) -> None:
        self.failure = text

    def _done(self, keys: Keys, now: float) -> None:
        self.keys, self.done_at = keys, now
        self.records = DtlsRecords(keys.dtls)
        self.send(self.records.seal(APPLICATION_DATA, b"first"))

    def receive(self, data: bytes, now: float) -> None:
        self.now = now
        if self.setup.running:
            self.setup.receive(data, now)
            data = b"".join(self.setup.take_early())
        if self.records is not None:
            for record in self.records.open(data):
                if record.kind == APPLICATION_DATA:
                    self.opened.append(record.payload)
                    self.setup.received_sealed()
                elif record.kind == records.HANDSHAKE:
                    self.setup.repeat_final_flight()

    def poll(self, now: float) -> None:
        self.now = now
        self.setup.poll(now)


class Path:
    """Two ends and what is between them."""

    def __init__(
        self,
        lose: tuple[Lose, Lose],
        chance: random.Random | None = None,
        jitter: float = 0.0,
        theirs: Certificate = THEIRS,
    ) -> None:
        self.client, self.server = End(True, OURS, theirs), End(False, theirs, OURS)
        self.lose, self.chance, self.jitter = lose, chance or random.Random(1), jitter
        self.now = 0.0
        self.counts = [0, 0]
        self.doubled = 0.0
        self.order = itertools.count()
        self.wire: list[tuple[float, int, End, bytes]] = []
        self.deaf_until = 0.0
        """The server takes nothing before."""
        self.client.setup.start(0.0)

    @property
    def complete(self) -> bool:
        return self.client.keys is not None and self.server.keys is not None

    def inject(self, to: End, data: bytes, at: float) -> None:
        heapq.heappush(self.wire, (at, next(self.order), to, data))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> None:
        stop = stop or (lambda: self.complete)
        while self.now < until and not stop():
            for way, (end, other) in enumerate(((self.client, self.server), (self.server, self.client))):
                waiting, end.waiting = end.waiting, []
                for data in waiting:
                    if not self.lose[way](self.counts[way], data):
                        for _ in range(1 + (self.chance.random() < self.doubled)):
                            self.inject(other, data, self.now + ONE_WAY + self.chance.random() * self.jitter)
                    self.counts[way] += 1
            self.now += STEP
            while self.wire and self.wire[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self.wire)
                if to is not self.server or self.now >= self.deaf_until:
                    to.receive(data, self.now)
            self.client.poll(self.now)
            self.server.poll(self.now)


def by_chance(share: float, chance: random.Random) -> Lose:
    return lambda number, data: chance.random() < share


def nothing(number: int, data: bytes) -> bool:
    return False


def assert_same_keys(path: Path) -> None:
    client, server = path.client.keys, path.server.keys
    assert client is not None
    assert server is not None
    assert client.srtp.local_key == server.srtp.remote_key
    assert client.srtp.remote_key == server.srtp.local_key
    assert client.dtls.key_block == server.dtls.key_block


def assert_no_number_twice(end: End) -> None:
    """No nonce is used for two contents, and no copy is taken for a replay."""
    seen: dict[tuple[int, int], bytes] = {}
    for _, datagram in end.sent:
        for record in records.split(datagram):
            number = records.epoch(record), records.sequence(record)
            assert seen.setdefault(number, record) == record, "two records have the same number"


def assert_records_flow(path: Path) -> None:
    assert path.client.records is not None
    assert path.server.records is not None
    for number in range(3):
        sealed = path.client.records.seal(APPLICATION_DATA, b"%d" % number)
        assert path.server.records.open(sealed) == [(APPLICATION_DATA, b"%d" % number)]
        sealed = path.server.records.seal(APPLICATION_DATA, b"%d" % number)
        assert path.client.records.open(sealed) == [(APPLICATION_DATA, b"%d" % number)]


@pytest.mark.parametrize("loss", [0.05, 0.15, 0.4])
def test_both_ends_get_the_keys_over_a_path_that_loses(loss: float) -> None:
    for seed in range(60):
        chance = random.Random(seed)
        path = Path((by_chance(loss, chance), by_chance(loss, chance)), chance, jitter=0.03)
        path.doubled = 0.1
        path.run(12.0)
        assert_same_keys(path)
        assert_no_number_twice(path.client)
        assert_no_number_twice(path.server)
        assert_records_flow(path)


@pytest.mark.parametrize("kind", ["first", "each"])
@pytest.mark.parametrize("way", [0, 1], ids=["client", "server"])
@pytest.mark.parametrize("number", range(8))
def test_the_loss_of_one_datagram_costs_less_than_a_third_of_a_second(number: int, way: int, kind: str) -> None:
    """In its first copy, or in each copy of an eighth of them."""

    def lose(nth: int, data: bytes) -> bool:
        return nth == number or (kind == "each" and nth % 8 == number)

    path = Path((lose, nothing) if way == 0 else (nothing, lose))
    path.run(5.0)
    assert_same_keys(path)
    assert max(path.client.done_at, path.server.done_at) < 0.2 + 0.3
    assert_no_number_twice(path.client)
    assert_records_flow(path)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 11), max_size=6), st.sets(st.integers(0, 11), max_size=6))
def test_any_six_of_the_first_datagrams_may_be_lost_each_way(up: set[int], down: set[int]) -> None:
    path = Path((lambda number, data: number in up, lambda number, data: number in down))
    path.run(12.0)
    assert_same_keys(path)
    assert_no_number_twice(path.client)
    assert_records_flow(path)


def test_a_flight_is_repeated_at_the_times_that_are_documented_and_twelve_times_at_most() -> None:
    path = Path((lambda number, data: True, nothing))
    path.run(14.9)
    times = [at for at, _ in path.client.sent]
    expected = list(itertools.accumulate([0.0, 0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
    assert times == pytest.approx(expected, abs=0.03 * len(expected))
    path.run(16.0)
    assert path.client.failure is not None
    assert "within 15 s" in path.client.failure
    assert sum(len(data) for _, data in path.client.sent) < 13 * 250


def test_a_peer_that_is_deaf_for_its_first_two_seconds_is_connected_within_three() -> None:
    path = Path((nothing, nothing))
    path.deaf_until = 2.0
    path.run(5.0)
    assert_same_keys(path)
    assert max(path.client.done_at, path.server.done_at) < 3.0


class WithCookie(Certificate):
    """Of a server that sends a HelloVerifyRequest first (RFC 6347 section 4.2.1)."""

    def __init__(self) -> None:
        super().__init__()
        assert SSL.OP_COOKIE_EXCHANGE is not None
        self.context.set_options(SSL.OP_COOKIE_EXCHANGE)
        self.context.set_cookie_generate_callback(lambda connection: b"cookie")
        self.context.set_cookie_verify_callback(lambda connection, cookie: cookie == b"cookie")


def test_a_server_that_asks_for_a_cookie_is_connected_over_a_path_that_loses() -> None:
    theirs = WithCookie()
    for seed in range(40):
        chance = random.Random(seed)
        path = Path((by_chance(0.3, chance), by_chance(0.3, chance)), chance, jitter=0.03, theirs=theirs)
        path.deaf_until = chance.choice([0.0, 0.4, 2.0])
        path.run(14.0)
        assert_same_keys(path)
        assert_no_number_twice(path.client)
        assert_records_flow(path)


def test_a_last_flight_that_is_lost_is_repeated_until_the_peer_has_it() -> None:
    """The first two copies of the server's Finished, however they are sent."""
    lost = 0

    def lose(number: int, data: bytes) -> bool:
        nonlocal lost
        last = any(records.epoch(record) == 1 and record[0] == records.HANDSHAKE for record in records.split(data))
        lost += last
        return last and lost <= 2

    path = Path((nothing, lose))
    path.run(5.0)
    assert_same_keys(path)
    assert path.client.done_at < 0.45
    path.run(path.now + 2.0, lambda: False)
    assert path.client.opened == path.server.opened == [b"first"]
    quiet_from = path.now
    path.run(path.now + 3.0, lambda: False)
    assert not [at for at, _ in path.client.sent + path.server.sent if at > quiet_from]


def test_data_that_overtakes_the_last_flight_is_delivered_once() -> None:
    """A peer sends data right behind its Finished: where that is lost, the data waits for its copy."""
    path = Path((nothing, lambda number, data: data[:5] == b"\x14\xfe\xfd\x00\x00" and path.now < 0.22))
    path.run(5.0)
    assert path.client.done_at > 0.25
    path.run(path.now + 0.5, lambda: False)
    assert path.client.opened == [b"first"]


def test_the_client_may_send_media_as_soon_as_its_last_flight_is_out() -> None:
    path = Path((nothing, nothing))
    path.run(5.0)
    client = path.client
    assert client.keys is not None
    assert client.may_send_at == pytest.approx(0.1, abs=0.02)
    assert client.done_at == pytest.approx(0.2, abs=0.03)
    assert client.send_keys is client.keys.srtp
    assert path.server.send_keys is None


def test_the_client_may_send_nothing_to_a_peer_whose_certificate_is_not_the_one_it_named() -> None:
    path = Path((nothing, nothing))
    path.client.setup = DtlsSetup(
        OURS, [("sha-256", OURS.fingerprint)], True, path.client.send, path.client._done, path.client._failed,
        path.client._may_send,
    )  # fmt: skip
    path.client.setup.begin(0.0)
    path.client.waiting.clear()
    path.client.setup.start(0.0)
    path.run(2.0)
    assert path.client.failure is not None
    assert path.client.send_keys is None


def test_a_finished_that_is_not_the_peers_gives_no_keys() -> None:
    """The media keys were there before; nothing is accepted with them."""
    path = Path((nothing, lambda number, data: any(records.epoch(record) == 1 for record in records.split(data))))
    path.run(1.0, lambda: path.client.send_keys is not None)
    finished = b"\x16\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x28" + bytes(40)
    path.inject(path.client, b"\x14\xfe\xfd\x00\x00" + bytes(5) + b"\x09\x00\x01\x01" + finished, path.now)
    path.run(3.0, lambda: False)
    assert path.client.keys is None


def plain(kind: int, number: int, body: bytes) -> bytes:
    return bytes([kind]) + b"\xfe\xfd\x00\x00" + number.to_bytes(6, "big") + len(body).to_bytes(2, "big") + body


FORGED = [
    plain(20, 2**48 - 1, b"\x01"),
    plain(22, 2**48 - 1, b"\x0b\x00\x00\x10\x00\x03\x00\x00\x00\x00\x00\x20" + bytes(32)),
    plain(22, 2**48 - 1, b"\x0b\x00\x00\x10\x00\x03\x00\x00\x08\x00\x00\x20" + bytes(20)),
    plain(22, 2**40, b"\x01"),
    plain(23, 5, b"data"),
    plain(63, 5, b"no type"),
    plain(22, 7, b""),
    b"\x17\xfe\xfd\x00\x01\xff\xff\xff\xff\xff\xff\x00\x20" + bytes(32),
    b"\x16\xfe\xfd\x00\x01\x00\x00\x00\x00\x00\x00\x00\x28" + bytes(40),
    b"\x16\xfe\xfd\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00",
    b"\x16\xfe\xfd",
]
"""Records that anybody can write who sees the path: none is authentic."""


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
@pytest.mark.parametrize("at", [0.01, 0.06, 0.11, 0.16])
def test_forged_record_numbers_and_types_do_no_harm(forged: bytes, at: float) -> None:
    path = Path((nothing, nothing))
    path.inject(path.client, forged, at)
    path.inject(path.server, forged, at)
    path.run(1.0)
    assert_same_keys(path)
    assert_records_flow(path)


def test_replays_of_all_that_was_sent_do_no_harm() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        path = Path((by_chance(0.1, chance), by_chance(0.1, chance)), chance)
        for _ in range(30):
            path.run(path.now + 0.05, lambda: False)
            for end, other in ((path.client, path.server), (path.server, path.client)):
                path.inject(other, chance.choice(end.sent)[1], path.now) if end.sent else None
        assert_same_keys(path)
        assert path.client.opened in ([], [b"first"])
        assert path.server.opened in ([], [b"first"])
        assert_records_flow(path)


def test_repeated_records_after_the_end_are_answered_and_not_taken_twice() -> None:
    path = Path((nothing, nothing))
    path.run(1.0)
    path.run(path.now + 0.5, lambda: False)
    finished = [data for _, data in path.client.sent if b"\x16\xfe\xfd\x00\x01" in data]
    before = len(path.server.sent)
    for data in finished:
        path.server.receive(data, path.now)
    assert len(path.server.sent) == before, "a replay of a Finished is no repetition"
