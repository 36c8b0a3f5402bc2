"""How many clients may wait for their connection: bursts, slow clients, offers that nobody follows. Virtual time."""

from __future__ import annotations

import pytest

from antiphon.transceiver.calls.connect_estimate import (
    COMES_WITHIN,
    CONNECTS_WITHIN,
    FIRST_SPACING,
    FORGET,
    MAX_SPACING,
    ConnectEstimate,
)

pytestmark = pytest.mark.virtual

WITHIN = 2.5


class Client:
    """A session as the estimate sees it."""

    def __init__(self) -> None:
        self.connected = self.checked = False
        self.setup_seconds = 0.0


class World:
    """Offers that come, clients that are served one after the other, and a clock."""

    def __init__(self, within: float = WITHIN) -> None:
        self.now = 100.0
        self.estimate = ConnectEstimate(within, self.now)
        self.clients: dict[str, Client] = {}
        self.opened_at: dict[str, float] = {}

    def wait(self, queued: float = 0.0, opening: int = 0) -> float:
        return self.estimate.refuses(self.clients.get, opening, queued, self.now)

    def offer(self) -> str:
        """The id of the session; empty if the offer is refused."""
        if self.wait():
            return ""
        name = f"rtc_{len(self.opened_at)}"
        self.clients[name], self.opened_at[name] = Client(), self.now
        self.estimate.opened(name, self.now)
        return name

    def burst(self, offers: int) -> list[str]:
        return [name for _ in range(offers) if (name := self.offer())]

    def connect(self, names: list[str], each: float) -> None:
        for name in names:
            self.now += each
            client = self.clients[name]
            client.checked = client.connected = True
            client.setup_seconds = self.now - self.opened_at[name]


def test_of_a_burst_as_many_are_taken_as_connect_in_time_before_anything_was_measured() -> None:
    world = World()
    taken = world.burst(300)
    assert len(taken) == int(WITHIN / FIRST_SPACING)
    assert world.wait() == pytest.approx(WITHIN + FIRST_SPACING, abs=FIRST_SPACING)


@pytest.mark.parametrize(("each", "most"), [(0.01, 250), (0.03, 83), (0.06, 42)])
def test_the_next_burst_goes_by_how_fast_the_first_was_served(each: float, most: int) -> None:
    world = World()
    for _ in range(6):
        world.connect(world.burst(60), each)
    assert world.estimate.spacing == pytest.approx(each, rel=0.35)
    assert len(world.burst(400)) == pytest.approx(most, rel=0.4)


def test_clients_that_come_one_by_one_over_a_slow_network_are_all_taken() -> None:
    world = World()
    waiting: list[str] = []
    for _ in range(400):  # ten a second, each of which needs 1.5 s for itself
        world.now += 0.1
        name = world.offer()
        assert name
        world.clients[name].checked = True
        waiting.append(name)
        if len(waiting) > 15:
            done = world.clients[waiting.pop(0)]
            done.connected, done.setup_seconds = True, 1.5
    assert len(world.burst(100)) >= 10


def test_however_slow_some_were_a_few_may_come_at_once_and_it_is_forgotten() -> None:
    world = World()
    for _ in range(20):
        world.connect(world.burst(60), 0.5)
    world.clients.clear()
    assert world.estimate.spacing <= MAX_SPACING
    assert len(world.burst(100)) >= int(WITHIN / MAX_SPACING) - 1
    world.clients.clear()
    world.now += 10 * FORGET
    assert len(world.burst(300)) == int(WITHIN / FIRST_SPACING)


def test_offers_that_are_hung_up_or_that_no_client_follows_keep_nobody_out_for_long() -> None:
    world = World()
    names = world.burst(300)
    assert not world.offer()
    del world.clients[names[0]]
    assert world.offer()
    world.now += COMES_WITHIN + 0.01
    assert world.burst(10)
    for client in world.clients.values():
        client.checked = True
    world.now += CONNECTS_WITHIN
    assert len(world.burst(300)) == int(WITHIN / FIRST_SPACING), "handshakes that never end count for so long"


def test_steps_of_handshakes_that_wait_and_offers_that_are_answered_count() -> None:
    world = World()
    assert world.wait(queued=WITHIN) == 0
    assert world.wait(queued=3.0) == 3.0
    assert world.wait(opening=int(WITHIN / FIRST_SPACING)) > WITHIN


def test_without_a_bound_nobody_is_refused() -> None:
    world = World(within=0)
    assert len(world.burst(1000)) == 1000
    assert world.wait(queued=100.0) == 0
