"""Which instance lives, which one takes over, what is kept: the rules without I/O, the keeper on real NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError
from support.conditions import until
from support.processes.nats import nats_server

from antiphon.runtime import tasks
from antiphon.runtime.agent_sessions import leases, takeover
from antiphon.runtime.agent_sessions.keeper import LeaseKeeper
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.runtime.nats import connection
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.messages import AgentBeat, Lease

OURS = AgentBeat(instance="ours")
THEIRS = AgentBeat(instance="theirs")


def beats(instances: leases.InstanceLiveness, *rounds: tuple[AgentBeat, ...], start: float = 0.0) -> None:
    for number, round_ in enumerate(rounds):
        for beat in round_:
            instances.received(beat, start + number * leases.BEAT_SECONDS)


@pytest.mark.pure
def test_an_instance_that_misses_four_beats_is_dead_and_named_once() -> None:
    instances = leases.InstanceLiveness("ours")
    beats(instances, (OURS, THEIRS), (OURS,), (OURS,), (OURS,))
    assert not instances.is_dead("theirs")
    beats(instances, (OURS,))
    assert instances.is_dead("theirs")
    assert instances.newly_dead() == ["theirs"]
    assert instances.newly_dead() == []
    assert instances.is_dead("theirs")


@pytest.mark.pure
def test_no_instance_is_dead_while_our_own_beats_do_not_come_back() -> None:
    instances = leases.InstanceLiveness("ours")
    beats(instances, (OURS, THEIRS), (OURS, THEIRS))
    assert not instances.received(THEIRS, 3600.0)
    assert not instances.is_dead("theirs")
    assert instances.received(OURS, 3600.0), "late: our leases are to be verified"


@pytest.mark.pure
def test_an_instance_without_any_beat_gets_the_same_time_from_our_start() -> None:
    instances = leases.InstanceLiveness("ours")
    beats(instances, *[(OURS,)] * 3)
    assert not instances.is_dead("before us")
    beats(instances, (OURS,))
    assert instances.is_warmed_up
    assert instances.is_dead("before us")


@pytest.mark.pure
def test_an_instance_that_leaves_in_order_is_dead_at_once_and_may_come_back() -> None:
    instances = leases.InstanceLiveness("ours")
    beats(instances, (OURS, THEIRS), (THEIRS.model_copy(update={"leaving": True}),))
    assert instances.is_dead("theirs")
    assert instances.newly_dead() == ["theirs"]
    beats(instances, (THEIRS,))
    assert not instances.is_dead("theirs")


@pytest.mark.pure
def test_every_holder_speaks_above_all_generations_of_the_one_before() -> None:
    assert leases.first_generation(0) == 0
    assert leases.first_generation(1) > leases.first_generation(0) + 10**9


@pytest.mark.pure
@pytest.mark.parametrize("state", [{"a": object()}, {"a": float("nan")}, {"a": "x" * leases.MAX_STATE_BYTES}])
def test_a_state_that_cannot_be_kept_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(MalformedError, match="the state of a session is"):
        leases.checked_state(state)


# ---- on NATS -----------------------------------------------------------------------------------------


class Instance:
    """A keeper and its callbacks' calls."""

    def __init__(self, client: Client, name: str, room: Callable[[], int]) -> None:
        self.client = client
        self.taken: list[Lease] = []
        self.lost: list[str] = []
        self.keeper = LeaseKeeper(client, "echo", self._take, self.lost.append, room, instance=name)

    async def _take(self, lease: Lease) -> bool:
        self.taken.append(lease)
        return await takeover.fence(SessionBus(self.client, lease.agent, lease.session_id, asyncio.Event()), lease)

    async def hold(self, session_id: str) -> None:
        lease = Lease(
            session_id=session_id, agent="echo", instance=self.keeper.instance, input_rate=24000, session={"a": 1}
        )
        await self.keeper.hold(lease)

    async def die(self) -> None:
        """Without a word."""
        await tasks.end(*self.keeper._tasks)
        await self.client.close()


@asynccontextmanager
async def instance(nats_url: str, name: str, room: Callable[[], int] = lambda: 10) -> AsyncIterator[Instance]:
    client = await connection.connect(nats_url, name)
    one = Instance(client, name, room)
    await one.keeper.start()
    try:
        yield one
    finally:
        if not client.is_closed:
            await one.keeper.close()
            await client.close()


@pytest.fixture
async def transceiver(nats_url: str) -> AsyncIterator[list[messages.Message]]:
    """Has the session `rtc_call`, and notes what it is asked to do."""
    controls: list[messages.Message] = []
    client = await connection.connect(nats_url, "transceiver")

    async def control(message: object) -> None:
        controls.append(messages.decode_any(message.data, messages.CONTROL, "Control"))  # type: ignore[attr-defined]
        await message.respond(messages.encode(messages.ControlReply(ok=True)))  # type: ignore[attr-defined]

    await client.subscribe(subjects.session_control("echo", "rtc_call"), cb=control)
    await connection.flush(client)
    yield controls
    await client.close()


async def stored(client: Client, session_id: str = "rtc_call") -> Lease:
    bucket = await client.jetstream().key_value(subjects.BUCKET_LEASES)
    entry = await bucket.get(subjects.lease_key("echo", session_id))
    return messages.decode(entry.value or b"", Lease)


@pytest.mark.process
async def test_the_session_of_a_dead_instance_goes_to_another_with_what_it_remembered(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async with instance(nats_url, "one") as one, instance(nats_url, "two") as two:
        await one.hold("rtc_call")
        one.keeper.save("rtc_call", {"said": ["hello"]})
        await until(lambda: not one.keeper.table["rtc_call"].dirty)
        await one.die()
        await until(lambda: two.taken)
        lease = two.taken[0]
        assert (lease.instance, lease.takeovers, lease.session, lease.input_rate) == ("two", 1, {"a": 1}, 24000)
        assert lease.state == {"said": ["hello"]}
        await until(lambda: transceiver)
        assert transceiver == [messages.Flush(generation=leases.first_generation(1))]


@pytest.mark.process
async def test_an_orderly_stop_hands_its_sessions_over_at_once_and_a_full_instance_takes_none(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async with (
        instance(nats_url, "one") as one,
        instance(nats_url, "full", room=lambda: 0) as full,
        instance(nats_url, "two") as two,
    ):
        await one.hold("rtc_call")
        await one.keeper.close()
        await until(lambda: two.taken)
        assert not full.taken


@pytest.mark.process
async def test_an_instance_that_starts_later_takes_the_sessions_of_its_dead_predecessor(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async with instance(nats_url, "one") as one:
        await one.hold("rtc_call")
        await one.die()
    async with instance(nats_url, "two") as two:
        await until(lambda: two.taken)


@pytest.mark.process
async def test_a_session_that_is_over_is_not_taken_and_its_lease_goes(nats_url: str) -> None:
    async with instance(nats_url, "one") as one, instance(nats_url, "two") as two:
        await one.hold("rtc_gone")
        await one.die()
        await until(lambda: two.taken)
        await until(lambda: len(two.keeper.table) == 0)
        assert await two.client.jetstream().key_value(subjects.BUCKET_LEASES)
        with pytest.raises(Exception, match="not found"):
            await stored(two.client, "rtc_gone")


@pytest.mark.process
async def test_a_session_is_held_while_there_is_no_jetstream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with nats_server(tmp_path, jetstream=False) as url:
        async with instance(url, "one") as one:
            await one.hold("rtc_call")
            assert one.keeper.holds("rtc_call")
    assert "its lease is not written yet" in caplog.text


@pytest.mark.process
async def test_a_session_that_ends_while_its_lease_is_being_written_leaves_nothing_behind(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with instance(nats_url, "one") as one:
        for number in range(40):
            session_id = f"rtc_{number}"
            holding = asyncio.create_task(one.hold(session_id))
            await asyncio.sleep(0)
            if number % 4:
                await holding
            one.keeper.save(session_id, {"said": ["goodbye"]})
            one.keeper.table[session_id].written = 0.0
            one.keeper._work.set()
            for _ in range(number // 2):
                await asyncio.sleep(0)
            await one.keeper.release(session_id)
            await holding
        bucket = await one.client.jetstream().key_value(subjects.BUCKET_LEASES)
        for number in range(40):
            with pytest.raises(KeyNotFoundError):
                await bucket.get(subjects.lease_key("echo", f"rtc_{number}"))
    assert "cannot be kept" not in caplog.text


@pytest.mark.process
async def test_a_session_that_has_lost_too_many_agents_is_ended(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async with instance(nats_url, "one") as one:
        await one.hold("rtc_call")
        held = one.keeper.table["rtc_call"]
        held.lease, held.dirty = held.lease.model_copy(update={"deaths": leases.MAX_DEATHS}), True
        await until(lambda: not held.dirty)
        await one.die()
    async with instance(nats_url, "two") as two:
        await until(lambda: transceiver)
        assert transceiver == [messages.HangUp(reason="agent_lost")]
        assert not two.taken


@pytest.mark.process
async def test_a_holder_that_was_wrongly_taken_for_dead_learns_that_it_lost(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async with instance(nats_url, "one") as one, instance(nats_url, "two") as two:
        await one.hold("rtc_call")
        beating, one.keeper._tasks = one.keeper._tasks, []
        await tasks.end(*beating)
        await until(lambda: two.taken)
        one.keeper._tasks = [
            asyncio.create_task(one.keeper._beat_forever()),
            asyncio.create_task(one.keeper._keep_forever()),
        ]
        await until(lambda: one.lost)
        assert one.lost == ["rtc_call"]
        assert (await stored(two.client)).instance == "two"


@pytest.mark.pure
def test_holders_that_leave_in_order_cost_a_call_no_chance_and_those_that_die_do() -> None:
    lease = Lease(session_id="rtc_a", agent="echo", instance="first")
    for number in range(20):  # as many deployments
        lease = leases.taken(lease.model_copy(update={"instance": ""}), f"holder-{number}")
    assert (lease.takeovers, lease.deaths) == (20, 0)
    assert not leases.is_hopeless(lease)
    for number in range(leases.MAX_DEATHS):
        assert not leases.is_hopeless(lease)
        lease = leases.taken(lease, f"another-{number}")
    assert leases.is_hopeless(lease)


@pytest.mark.process
async def test_a_holder_that_takes_its_time_to_leave_is_not_counted_as_dead(
    nats_url: str, transceiver: list[messages.Message]
) -> None:
    async def loses_its_first_cancellation() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1.5 * leases.MISSED * leases.BEAT_SECONDS)

    async with instance(nats_url, "one") as one, instance(nats_url, "two") as two:
        await one.hold("rtc_call")
        await until(lambda: not one.keeper.table["rtc_call"].dirty)
        one.keeper._takes.add(asyncio.create_task(loses_its_first_cancellation()))
        await asyncio.sleep(0)
        await one.keeper.close()
        await until(lambda: two.taken)
        assert (await stored(two.client)).deaths == 0
