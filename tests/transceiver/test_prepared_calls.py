"""Prepared calls at a real transceiver: answered at once, made by their client's first check, once, here or nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE
from support.processes.transceiver_process import Bench, transceiver_process

from antiphon.runtime.nats import buckets
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode_any, encode

pytestmark = pytest.mark.process

HOLDER = "0123456789abcdef.fedcba9876543210"


async def prepared(bench: Bench, peer: CarriedPeer, holder: str = "") -> messages.Opened:
    reply = await asked(bench, messages.OpenRequest(offer=peer.offer(), agent="echo", creator=holder, prepare=holder))
    assert isinstance(reply, messages.Opened), reply
    return reply


async def asked(bench: Bench, request: messages.OpenRequest) -> messages.Opened | messages.Refused:
    subject = subjects.transceiver_open(0, bench.announcement.slot)
    reply = await bench.client.request(subject, encode(request), timeout=PATIENCE)
    return decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")


async def withdrawn(bench: Bench, session_id: str, holder: str = "") -> messages.Opened | messages.Refused:
    return await asked(bench, messages.OpenRequest(offer="", creator=holder, withdraw=session_id, prepare=holder))


async def connected(bench: Bench, peer: CarriedPeer, opened: messages.Opened) -> None:
    peer.begin(opened.answer)
    await asyncio.wait_for(peer.channel_open.wait(), PATIENCE)
    assert peer.failure is None
    await bench.until(lambda: bool(bench.lines[opened.session_id].frames), "audio of the caller")


async def kept(bench: Bench) -> list[str]:
    """The keys in the bucket that have an entry."""
    bucket = await buckets.bucket(bench.client.jetstream(), subjects.BUCKET_PREPARED)
    found = []
    for key in await buckets.keys(bench.client.jetstream(), subjects.BUCKET_PREPARED):
        try:
            await bucket.get(key)
        except KeyNotFoundError:
            continue
        found.append(key)
    return found


async def is_unanswered(bench: Bench, peer: CarriedPeer, opened: messages.Opened) -> None:
    """Its checks are heard and get no answer, and no session comes of them."""
    peer.begin(opened.answer)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peer.connected.wait(), 0.7)
    assert opened.session_id not in bench.lines
    await bench.sessions(0)


@pytest.fixture
async def small(nats_url: str) -> AsyncIterator[Bench]:
    async with transceiver_process(nats_url, ANTIPHON_CAPACITY="1") as running:
        yield running


async def test_a_prepared_call_is_no_session_until_its_client_comes_and_a_call_like_all_others_then(
    bench: Bench,
) -> None:
    peer = bench.peer()
    opened = await prepared(bench, peer)
    assert await kept(bench) == [subjects.prepared_key(0, opened.session_id)]
    assert opened.session_id not in bench.lines
    assert bench.announcement.sessions == 0
    await connected(bench, peer, opened)
    assert await kept(bench) == []
    line = bench.lines[opened.session_id]
    started = next(each for each in line.events if isinstance(each, messages.MediaStarted))
    assert started.setup_ms < 2000
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.until(lambda: line.ended == "hang_up" and peer.closed.is_set(), "both are told of the end")


async def test_an_answer_makes_one_session_whoever_uses_it_and_none_after_its_end(bench: Bench) -> None:
    first, second = bench.peer(), bench.peer()
    opened = await prepared(bench, first)
    await connected(bench, first, opened)
    second.begin(opened.answer)  # another client with the same answer: its handshake has another certificate
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.connected.wait(), 0.7)
    await bench.sessions(1)
    line = bench.lines[opened.session_id]
    assert line.ended is None
    assert (await bench.control(line, messages.HangUp())).ok
    await bench.sessions(0)
    late = bench.peer()
    late.begin(opened.answer)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late.connected.wait(), 0.7)
    await bench.sessions(0)


async def test_of_one_secret_the_newer_prepared_call_replaces_the_older_one(bench: Bench) -> None:
    older, newer = bench.peer(), bench.peer()
    first, second = await prepared(bench, older, HOLDER), await prepared(bench, newer, HOLDER)
    assert await kept(bench) == [subjects.prepared_key_of(0, HOLDER)]
    await is_unanswered(bench, older, first)
    await connected(bench, newer, second)


async def test_the_use_of_a_secret_s_prepared_call_is_marked_once_its_client_is_connected(bench: Bench) -> None:
    marks: list[str] = []

    async def written(message: Msg) -> None:
        marks.append(message.subject)

    await bench.client.subscribe(f"$KV.{subjects.BUCKET_LIMITS}.>", cb=written)
    peer = bench.peer()
    opened = await prepared(bench, peer, HOLDER)
    assert not marks
    await connected(bench, peer, opened)
    marked = f"$KV.{subjects.BUCKET_LIMITS}.{subjects.prepared_mark(opened.session_id)}"
    await bench.until(lambda: marked in marks, "its use is marked")
    reply = await withdrawn(bench, opened.session_id, HOLDER)
    assert isinstance(reply, messages.Refused)
    assert reply.code == "in_use"


async def test_a_withdrawn_call_is_never_made_and_an_unknown_one_is_said_to_be_unknown(bench: Bench) -> None:
    peer = bench.peer()
    opened = await prepared(bench, peer, HOLDER)
    assert isinstance(await withdrawn(bench, opened.session_id, HOLDER), messages.Opened)
    assert await kept(bench) == []
    await is_unanswered(bench, peer, opened)
    reply = await withdrawn(bench, opened.session_id, HOLDER)
    assert isinstance(reply, messages.Refused)
    assert reply.code == "no_session"


async def test_a_full_transceiver_answers_no_check_and_takes_the_call_when_there_is_room(small: Bench) -> None:
    waiting = small.peer()
    opened = await prepared(small, waiting)
    _, line = await small.call()
    waiting.begin(opened.answer)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting.connected.wait(), 0.7)
    assert (await small.control(line, messages.HangUp())).ok
    await asyncio.wait_for(waiting.connected.wait(), PATIENCE)
    assert opened.session_id in small.lines


async def test_an_agent_that_accepts_too_late_gets_no_session_and_is_told(bench: Bench) -> None:
    peer = bench.peer()
    opened = await prepared(bench, peer)
    bench.claim_delay = 0.45
    peer.begin(opened.answer)
    await bench.until(lambda: opened.session_id in bench.lines, "the agent is asked")
    await bench.until(lambda: bench.lines[opened.session_id].ended is not None, "the agent is told")
    assert not peer.connected.is_set()
    await bench.sessions(0)


@pytest.mark.nightly
async def test_a_restarted_transceiver_answers_no_check_of_the_one_before(nats_url: str) -> None:
    async with transceiver_process(nats_url) as first:
        peer = first.peer()
        opened = await prepared(first, peer)
        assert await kept(first)
    async with transceiver_process(nats_url) as second:
        again = second.peer()
        await is_unanswered(second, again, opened)


@pytest.mark.nightly
async def test_checks_with_a_wrong_password_cost_no_request_and_make_nothing(bench: Bench) -> None:
    peer = bench.peer()
    opened = await prepared(bench, peer)
    password = next(line for line in opened.answer.split("\r\n") if line.startswith("a=ice-pwd:"))
    forged = bench.peer()
    wrong = (
        opened._replace
        if False
        else opened.model_copy(update={"answer": opened.answer.replace(password, "a=ice-pwd:" + "A" * 24)})
    )
    await is_unanswered(bench, forged, wrong)
    assert await kept(bench), "it waits for its client"


async def test_no_call_is_prepared_while_the_bucket_takes_nothing(bench: Bench) -> None:
    await bench.client.jetstream().delete_stream(f"KV_{subjects.BUCKET_PREPARED}")
    reply = await asked(bench, messages.OpenRequest(offer=bench.peer().offer(), agent="echo", prepare=""))
    assert isinstance(reply, messages.Refused)
    assert reply.code == "not_prepared"
    _, line = await bench.call()  # ordinary calls go on
    assert line.ended is None
    with pytest.raises(nats.errors.Error):
        await buckets.bucket(bench.client.jetstream(), subjects.BUCKET_PREPARED)
