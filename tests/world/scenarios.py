"""What is done to the world, and what the callers notice of it. Each gives one row of the table, or several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from support.models.voice import say, silence

from antiphon.cli.call.command import converse
from antiphon.schemas.backbone import BackboneKeys
from world.browser import move_of_a_killed_ingress
from world.calls import FarCall, Way, close, median, new_call_after, placed
from world.geography import CALLERS, FAR, NEAREST, REGIONS, address
from world.keystream import Where, look, recorded, source_port
from world.nats_servers import CONCIERGE
from world.region import BACKBONE_KEY, BACKBONE_PORT, NATS, SECOND_BACKBONE_PORT, SERVICES
from world.stack import World, wait_until_ready

CALLS: Final = 2
CALLS_WITH_COPIES: Final = 20
LEASE: Final = 2.5
"""Seconds without a renewal after which the second region takes a lease (docs/global-relay.copies.md)."""
WATCHED: Final = 3.0
"""Seconds for which running calls are watched after an event."""
PATIENCE: Final = 20.0
QUESTION: Final = "What time is it?"
BRIDGE_STARTS_WITHIN: Final = 90.0
CUT_FOR: Final = 8.0
LONGER_THAN_HELLOS: Final = 120
"""Bytes of a packet with media over the backbone."""


KEYSTREAMS: Final = Where(
    address(CALLERS),
    address(NEAREST),
    frozenset({BACKBONE_PORT, SECOND_BACKBONE_PORT}),
    BackboneKeys.from_text(BACKBONE_KEY),
)


@dataclass
class Row:
    """One line of the table. `problems` empty: it is as promised."""

    what: str
    calls: str
    survived: str = ""
    gap: float | None = None
    """The longest silence of a call that went on, s."""
    new_call: float | None = None
    """Until a new call is answered, s."""
    counters: int | None = None
    """That seal packets, of which none was used twice."""
    missing: int | None = None
    """Messages without an answer: the agent that died had them, and its answers died with their transceiver."""
    twice: int | None = None
    """Messages that the agent that died answered, and the next one again."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scenario:
    """Rows of one event."""

    name: str
    text: str
    run: Callable[[World], AsyncIterator[Row]]


async def calls_from_afar(world: World) -> AsyncIterator[Row]:
    """Each region is called from the fourth place, and answers."""
    for name, region in world.regions.items():
        calls = await placed(region.url, 1 if world.short else CALLS)
        try:
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(1.0 if world.short else WATCHED)
            row = _row(f"call {name}", calls, began)
            row.new_call = median([call.answered_after for call in calls])
            yield row
        finally:
            await close(calls)


async def far_by_near_ingress(world: World) -> AsyncIterator[Row]:
    """The far region is called, and entered by the ingress near the caller: two hops."""
    calls = await placed(world.regions[NEAREST].url, CALLS, _two_hops(world))
    try:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(WATCHED)
        row = _row(f"call {FAR} by the ingress of {NEAREST}", calls, began)
        row.new_call = median([call.answered_after for call in calls])
        yield row
    finally:
        await close(calls)


async def ingress_killed(world: World) -> AsyncIterator[Row]:
    """The relay that the calls entered by is killed and started again; another one takes new calls meanwhile."""
    region = world.regions[NEAREST]
    calls = await placed(region.url, CALLS, Way(NEAREST, region.relay))
    try:
        began = asyncio.get_running_loop().time()
        region.kill("relay")
        new = await new_call_after(region.url, PATIENCE, Way(NEAREST, region.second_relay))
        region.start("relay")
        alive = await asyncio.gather(*(call.back_within(PATIENCE) for call in calls))
        row = _row("ingress killed, started again", calls, began)
        row.new_call = new
        if not all(alive):
            row.problems.append("running calls did not come back")
        if new is None:
            row.problems.append("no new call by the other relay")
        yield row
    finally:
        await close(calls)
        await _ready(world, NEAREST)


async def ingress_killed_under_a_page(world: World) -> AsyncIterator[Row]:
    """Chromium calls the far region, whose agent alone is there, by the near ingress, which is killed: below 1 s."""
    others = [region for name, region in world.regions.items() if name != FAR]
    for region in others:
        region.kill("echo")
    near = world.regions[NEAREST]
    try:
        await asyncio.sleep(1.0)  # the others' agents are asked no more
        moved = await asyncio.to_thread(move_of_a_killed_ingress, world.scratch, near)
        what = f"{moved.first}, then {moved.then} (Chromium), noticed after {moved.noticed:.2f} s"
        row = Row(what, "1", "1", gap=moved.gap)
        if moved.gap > 1.0:
            row.problems.append("the gap is above 1 s")
        yield row
    finally:
        for region in others:
            region.start("echo")
        near.start(*(part for part in SERVICES if part not in near.running()))
        await _ready(world, NEAREST)


async def spoken_answer(world: World) -> AsyncIterator[Row]:
    """The real bridge, in the far region alone, is asked a question by the near ingress, and answers it aloud."""
    region = world.regions[FAR]
    question = np.concatenate([silence(0.2), await asyncio.to_thread(say, QUESTION), silence(0.2)])
    region.start("bridge")
    try:
        deadline = asyncio.get_running_loop().time() + BRIDGE_STARTS_WITHIN
        while True:
            result, _ = await converse(world.regions[NEAREST].url, CONCIERGE, None, question, region=NEAREST)
            if result.ok or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.5)  # its models are being loaded
        row = Row(f"bridge of {FAR} by the ingress of {result.ingress}", "1", "1" if result.ok else "0")
        row.new_call = None if result.answer_ms is None else result.answer_ms / 1000
        if not result.ok or (result.region, result.ingress) != (FAR, NEAREST):
            row.problems.append(f"{result.error}, served by {result.region}, entered by {result.ingress}")
        if not result.answered:
            row.problems.append(f"understood {result.heard!r}, answered nothing")
        yield row
    finally:
        region.kill("bridge")


async def cluster_relay_killed(world: World) -> AsyncIterator[Row]:
    """The relay of the far cluster that carries calls over two hops is killed: a gap below 0.3 s."""
    region = world.regions[FAR]
    calls = await placed(world.regions[NEAREST].url, 1 if world.short else CALLS, _two_hops(world))
    try:
        part = await _carrier(world)
        began = asyncio.get_running_loop().time()
        region.kill(part)
        await asyncio.sleep(WATCHED)
        row = _row(f"{part} of {FAR} killed", calls, began)
        if not world.short and (row.gap is None or row.gap > 0.3):
            row.problems.append("the gap is above 0.3 s")
        yield row
    finally:
        await close(calls)
        if not world.short:
            region.start(part)
            await _ready(world, FAR)


async def _carrier(world: World) -> str:
    """The far region's relay that sends most to the near ingress."""
    file = world.scratch / "carried"
    with world.network.recording(file):
        await asyncio.sleep(0.5)
    of_first, of_second = (
        sum(source_port(packet) == port and len(packet) > LONGER_THAN_HELLOS for packet in recorded(file))
        for port in (BACKBONE_PORT, SECOND_BACKBONE_PORT)
    )
    if not of_first + of_second:
        raise RuntimeError("nothing comes over the backbone")
    return "relay" if of_first >= of_second else "relay-2"


async def cluster_killed(world: World) -> AsyncIterator[Row]:
    """All services of a region are killed: the others take new calls at once, and it does when it is back."""
    region = world.regions[FAR]
    calls = await placed(region.url, CALLS)
    try:
        region.kill(*SERVICES)
        other = await new_call_after(world.regions[NEAREST].url, PATIENCE)
        row = Row(f"cluster {FAR} killed", f"{CALLS}", new_call=other)
        row.survived = f"{sum(call.is_alive() for call in calls)}"
        if other is None:
            row.problems.append("the other regions take no new call")
        yield row
    finally:
        await close(calls)
        region.start(*SERVICES)
        await _ready(world, FAR)
    back = await new_call_after(region.url, PATIENCE)
    yield Row(f"cluster {FAR} back", "0", new_call=back, problems=[] if back is not None else ["it takes no new call"])


async def cluster_killed_with_copies(world: World) -> AsyncIterator[Row]:
    """The same, for calls that have a copy in the next region and enter by another ingress: they go on."""
    region = world.regions[FAR]
    calls = await placed(world.regions[NEAREST].url, CALLS_WITH_COPIES, _two_hops(world, copy=True))
    try:
        with _keystreams(world) as keystreams:
            await asyncio.sleep(WATCHED)  # the copies are stored
            began = asyncio.get_running_loop().time()
            region.kill(*SERVICES, *NATS)
            alive = await asyncio.gather(*(call.back_within(PATIENCE) for call in calls))
            await asyncio.sleep(WATCHED)
        row = _row(f"cluster {FAR} killed, calls with a copy", calls, began)
        if not all(alive):
            row.problems.append("not all calls with a copy went on")
        if row.gap is None or row.gap > LEASE + 1.0:
            row.problems.append("it took longer than the lease and 1 s")
        _check_data(row, calls)
        await keystreams.report(row)
        yield row
    finally:
        await close(calls)
        region.start(*NATS, *SERVICES)
        await _ready(world, FAR)


class _Keystreams:
    """What the links carried during a scenario, looked through after it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def report(self, row: Row) -> None:
        found = await asyncio.to_thread(look, recorded(self.file), KEYSTREAMS)
        row.counters = found.counters
        if found.twice or not found.counters:
            row.problems.append(f"{len(found.twice)} of {found.counters} counters used twice")


@contextmanager
def _keystreams(world: World) -> Iterator[_Keystreams]:
    file = world.scratch / "packets"
    with world.network.recording(file):
        yield _Keystreams(file)


def _check_data(row: Row, calls: list[FarCall]) -> None:
    """Messages are answered in the order in which they were sent; some by the agent that died and the next one."""
    row.missing = sum(call.missing() for call in calls)
    row.twice = sum(call.answered_twice() for call in calls)
    if disorder := [each for call in calls for each in call.out_of_order()]:
        row.problems.append(f"messages out of order: {'; '.join(disorder[:5])}")


async def region_cut_off(world: World) -> AsyncIterator[Row]:
    """A region is cut off from the others and joined again: its calls go on, and it takes new ones."""
    region = world.regions[FAR]
    calls = await placed(region.url, CALLS)
    try:
        began = asyncio.get_running_loop().time()
        world.network.cut_off(FAR)
        new = await new_call_after(region.url, PATIENCE)
        elsewhere = await new_call_after(world.regions[NEAREST].url, PATIENCE)
        region.kill("signaling", "echo")
        region.start("signaling", "echo")
        await _ready(world, FAR)
        await asyncio.sleep(max(0.0, CUT_FOR - (asyncio.get_running_loop().time() - began)))
        again = await new_call_after(region.url, PATIENCE)
        row = _row(f"{FAR} cut off from the others", calls, began, gap=False)
        row.new_call = new
        row.problems += [
            f"no new call {where}"
            for where, took in (("in it", new), ("in the others", elsewhere), ("after its services' restart", again))
            if took is None
        ]
        yield row
        joined = asyncio.get_running_loop().time()
        world.network.join_again(FAR)
        new = await new_call_after(region.url, PATIENCE)
        await asyncio.sleep(WATCHED)
        row = _row(f"{FAR} joined again", calls, joined, gap=False)
        row.new_call = new
        if new is None:
            row.problems.append("no new call in it")
        yield row
    finally:
        world.network.join_again(FAR)
        await close(calls)


async def region_cut_off_with_copies(world: World) -> AsyncIterator[Row]:
    """A region is cut off in both directions, then in one, under calls with a copy and without: all go on.

    Those with a copy are served by its second region, and no counter is used by both. Those without one go on where
    they were: those that enter there at once, those that enter elsewhere when the region is joined again.
    """
    for ways in ("both", "out", "in"):
        async for row in _cut_off_with_copies(world, ways):
            yield row


async def _cut_off_with_copies(world: World, ways: str) -> AsyncIterator[Row]:
    signaling = world.regions[NEAREST].url
    copied: list[FarCall] = []
    direct: list[FarCall] = []
    waiting: list[FarCall] = []
    loop = asyncio.get_running_loop()
    try:
        copied = await placed(signaling, CALLS, _two_hops(world, copy=True))
        direct = await placed(signaling, CALLS, Way(FAR))
        waiting = await placed(signaling, 1, _two_hops(world))
        with _keystreams(world) as keystreams:
            await asyncio.sleep(WATCHED)
            began = loop.time()
            world.network.cut_off(FAR, ways)
            await asyncio.gather(*(call.back_within(PATIENCE) for call in copied))
            await asyncio.sleep(max(0.0, CUT_FOR - (loop.time() - began)))
            of_copied = _row(f"{FAR} cut off ({ways}), calls with a copy", copied, began)
            of_direct = _row(f"{FAR} cut off ({ways}), without, in it", direct, began)
            joined = loop.time()
            world.network.join_again(FAR)
            await asyncio.gather(*(call.back_within(PATIENCE) for call in waiting))
            back = loop.time() - joined
            await asyncio.sleep(WATCHED)
        if of_copied.gap is None or of_copied.gap > LEASE + 1.0:
            of_copied.problems.append("it took longer than the lease and 1 s")
        _check_data(of_copied, copied)
        _check_data(of_direct, direct)
        after = _row(f"{FAR} joined again ({ways})", [*copied, *direct, *waiting], loop.time() - WATCHED)
        after.new_call = back
        await keystreams.report(of_copied)
        yield of_copied
        yield of_direct
        yield after
    finally:
        world.network.join_again(FAR)
        await close([*copied, *direct, *waiting])
        await _ready(world, FAR)


def _two_hops(world: World, copy: bool = False) -> Way:
    """Served by the far region, entered by the ingress near the callers."""
    return Way(FAR, world.regions[NEAREST].relay, copy)


def _row(what: str, calls: list[FarCall], since: float, gap: bool = True) -> Row:
    """Of calls that all should live. `gap` False: their agent was restarted, so silence says nothing of the path."""
    alive = [call for call in calls if (call.is_alive() if gap else not call.peer.closed.is_set())]
    silent = sum(not call.peer.closed.is_set() for call in calls if call not in alive)
    row = Row(what, f"{len(calls)}", f"{len(alive)}")
    row.gap = max((call.silence(since) for call in alive), default=None) if gap else None
    if len(alive) < len(calls):
        row.problems.append(f"{len(calls) - len(alive)} of {len(calls)} calls gone, {silent} of them silent")
    return row


async def _ready(world: World, region: str) -> None:
    await asyncio.to_thread(wait_until_ready, world.regions[region])


SCENARIOS: Final = (
    Scenario("calls", "calls from a fourth place to each region", calls_from_afar),
    Scenario("two-hops", "the far region by the near ingress", far_by_near_ingress),
    Scenario("ingress", "the ingress is killed", ingress_killed),
    Scenario("page", "the ingress of Chromium's page is killed", ingress_killed_under_a_page),
    Scenario("bridge", "a question to the far region's bridge", spoken_answer),
    Scenario("cluster-relay", "a relay of the far cluster is killed", cluster_relay_killed),
    Scenario("cluster", "a cluster is killed", cluster_killed),
    Scenario("copies", "a cluster is killed, its calls have copies", cluster_killed_with_copies),
    Scenario("cut-copies", "a region with copied calls is cut off", region_cut_off_with_copies),
    Scenario("cut", "a region is cut off and joined again", region_cut_off),
)
assert {*REGIONS} >= {FAR, NEAREST}
