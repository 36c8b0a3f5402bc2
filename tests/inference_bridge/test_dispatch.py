"""Claims go to the process with room, and what a call needs to be taken over is written down within bounds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from nats.aio.client import Client
from support.models.voice import Models

from antiphon.demo.concierge.dialogue import respond
from antiphon.demo.concierge.in_bridge import Concierge
from antiphon.inference_bridge.dispatch.bridge import Bridge
from antiphon.inference_bridge.dispatch.conversation_snapshot import (
    MAX_BYTES,
    ConversationSnapshot,
    bounded,
    read_snapshot,
    settings_json,
    snapshot_of,
)
from antiphon.inference_bridge.dispatch.local_models import LocalModels
from antiphon.inference_bridge.dispatch.peers import FRESH_SECONDS, Peers
from antiphon.inference_bridge.realtime_protocol.conversation import message
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionChanges, SessionSettings
from antiphon.inference_bridge.settings import Settings
from antiphon.runtime.agent_sessions.handed_call import message as said
from antiphon.runtime.nats import service_discovery
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import AgentBeat, HandedCall


def beat(instance: str, sessions: int, capacity: int = 10, leaving: bool = False) -> AgentBeat:
    return AgentBeat(instance=instance, sessions=sessions, capacity=capacity, leaving=leaving)


@pytest.mark.pure
def test_a_claim_is_passed_on_to_a_process_with_clearly_less_to_do() -> None:
    peers = Peers("me")
    peers.received(beat("me", 0), 0.0)
    assert peers.better(10, 10, 0.1) is None, "we are no peer of ours"
    peers.received(beat("idle", 1), 0.0)
    peers.received(beat("busy", 8), 0.0)
    assert peers.better(2, 10, 0.1) is None, "as good as we are"
    assert peers.better(5, 10, 0.1) == "idle"


@pytest.mark.pure
def test_one_beat_does_not_draw_all_claims_of_a_moment() -> None:
    peers = Peers("me")
    peers.received(beat("idle", 0, 3), 0.0)
    assert [peers.better(10, 10, 0.1) for _ in range(4)] == ["idle", "idle", "idle", None]


@pytest.mark.pure
def test_a_process_that_is_full_gone_or_silent_gets_nothing() -> None:
    peers = Peers("me")
    peers.received(beat("full", 10), 0.0)
    peers.received(beat("gone", 0), 0.0)
    peers.received(beat("gone", 0, leaving=True), 0.1)
    assert peers.better(10, 10, 0.2) is None
    peers.received(beat("silent", 0), 0.0)
    assert peers.better(10, 10, FRESH_SECONDS + 0.1) is None


@pytest.mark.process
@pytest.mark.models
async def test_a_full_bridge_passes_claims_on_and_the_last_one_is_refused(bus_client: Client, models: Models) -> None:
    settings = Settings(bridge_capacity=2, greeting="none")
    local = LocalModels(models.voice_activity, models.transcriber, models.synthesizer)
    bridges = [Bridge(bus_client, local, settings, Concierge) for _ in range(2)]
    for bridge in bridges:
        await bridge.start()
        await bridge.join()
    claimed: list[messages.ClaimReply] = []
    async with asyncio.timeout(30):
        number = 0
        while sum(reply.accepted for reply in claimed) < 4:  # the first claims may come before the first beats
            number += 1
            claim = messages.Claim(session_id=f"rtc_{number}", agent="concierge")
            answer = await bus_client.request(subjects.agent_claim("concierge"), messages.encode(claim), timeout=5)
            claimed.append(messages.decode(answer.data, messages.ClaimReply))
    assert sorted(Counter(reply.instance for reply in claimed if reply.accepted).values()) == [2, 2]
    claim = messages.Claim(session_id="rtc_late", agent="concierge")
    answer = await bus_client.request(subjects.agent_claim("concierge"), messages.encode(claim), timeout=5)
    assert not messages.decode(answer.data, messages.ClaimReply).accepted
    stats = await bus_client.request(f"$SRV.STATS.{service_discovery.AGENT_SERVICE}", timeout=5)
    figures = json.loads(stats.data)["endpoints"][0]["data"]
    assert figures["sessions"] == 2
    assert figures["claim_ms_p50"] > 0
    for bridge in bridges:
        await bridge.close()


# ---- the snapshot ------------------------------------------------------------------------------------------


@pytest.mark.pure
def test_a_long_conversation_is_written_down_without_its_beginning() -> None:
    items = [message(f"item_{n}", "user", "completed", {"type": "input_text", "text": "x" * 5000}) for n in range(40)]
    written = bounded(ConversationSnapshot(items=items, carried="and"))
    assert len(json.dumps(written)) <= MAX_BYTES
    assert written["items"][-1]["id"] == "item_39"
    assert written["carried"] == "and"
    assert len(read_snapshot(written).items) == len(written["items"])


@pytest.mark.pure
def test_what_is_kept_of_a_long_conversation_is_its_end_in_whole_items() -> None:
    items = [
        message(f"item_{n}", "user", "completed", {"type": "input_text", "text": f"{n} " * 400}) for n in range(60)
    ]
    kept = bounded(ConversationSnapshot(items=items))["items"]
    assert 0 < len(kept) < 60
    assert kept == items[-len(kept) :], "no item is cut, none is missing in between"
    one_more = len(json.dumps(bounded(ConversationSnapshot(items=items))).encode()) + len(json.dumps(items[0]).encode())
    assert one_more > MAX_BYTES, "as many as fit"


@pytest.mark.pure
def test_one_item_that_is_too_large_costs_no_other_item() -> None:
    small = [message(f"item_{n}", "user", "completed", {"type": "input_text", "text": "hello"}) for n in range(3)]
    large = message("large", "user", "completed", {"type": "input_text", "text": "ä" * MAX_BYTES})
    assert bounded(ConversationSnapshot(items=[small[0], large, *small[1:]]))["items"] == small


@pytest.mark.pure
def test_settings_survive_a_change_of_hands() -> None:
    detection = {"type": "semantic_vad", "eagerness": "low"}
    tools = [{"type": "function", "name": "look"}]
    changes: dict[str, Any] = {
        "tools": tools,
        "audio": {"input": {"turn_detection": detection}, "output": {"speed": 1.1}},
    }
    settings = SessionSettings().changed(SessionChanges.model_validate(changes))
    written = json.loads(json.dumps(bounded(ConversationSnapshot(settings=settings_json(settings)))))
    assert read_snapshot(written).session_settings() == settings
    off = SessionSettings().changed(
        SessionChanges.model_validate({"audio": {"input": {"turn_detection": None, "transcription": None}}})
    )
    assert ConversationSnapshot(settings=settings_json(off)).session_settings() == off


@pytest.mark.pure
def test_a_snapshot_that_cannot_be_read_counts_as_an_empty_one() -> None:
    assert read_snapshot({"items": 7}) == ConversationSnapshot()
    assert ConversationSnapshot(settings={"speed": "fast"}).session_settings() is None


@pytest.mark.pure
def test_the_concierge_continues_where_another_one_left_off() -> None:
    now = datetime(2026, 11, 22, 10, 30)
    first = Concierge()
    first._state, _ = respond(first._state, "Book me next Tuesday at ten thirty", now)
    second = Concierge()
    second.restore(json.loads(json.dumps(first.saved())))
    assert "10:30" in respond(second._state, "What have I booked?", now)[1].text


@pytest.mark.pure
def test_a_snapshot_is_read_by_processes_of_other_versions() -> None:
    written = bounded(ConversationSnapshot(session_created=True, received_until=480))
    assert (written["met"], written["heard_until"]) == (True, 480), "the names that bridges have always written"
    assert read_snapshot(written) == ConversationSnapshot(session_created=True, received_until=480)


@pytest.mark.pure
def test_a_call_that_another_agent_had_goes_on_where_it_was() -> None:
    handed = HandedCall(agent="front", items=[said("item_1", "user", "I want an invoice.")])
    greets, silent = snapshot_of(handed), snapshot_of(handed.model_copy(update={"silent": True}))
    assert greets is not None
    assert silent is not None
    assert [item["role"] for item in greets.items] == ["system", "user"]
    assert (greets.greeted, greets.answering) == (False, None)
    assert (silent.greeted, silent.answering) == (True, "")
    assert snapshot_of(None) is None
