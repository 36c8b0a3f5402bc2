"""What the owner of a call writes about it: each promise of its time line, its end and its webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.runtime.owned_calls.call_record import ENTRIES, CallRecord
from antiphon.schemas import messages
from antiphon.schemas.messages import TIMELINE_ENTRY

pytestmark = pytest.mark.pure

UNIX = 1_700_000_000.0
ID = "rtc_abcdefghijklmnopqrstuvwx"


class Written:
    """The records of one call, and the call."""

    def __init__(self, words: bool = False, resumed: bool = False) -> None:
        self.entries: list[Any] = []
        self.ended: list[messages.CallEnded] = []
        self.webhooks: list[messages.Webhook] = []
        self.packets = 0
        self.record = CallRecord(ID, self, self.summary, UNIX, words, resumed)

    def summary(self) -> messages.CallSummary | None:
        return messages.CallSummary(
            session_id=ID, agent="a", state="running", began=UNIX, owner="me", packets_received=self.packets
        )

    def entry(self, subject: str, data: bytes) -> None:
        assert subject == f"antiphon.v1.timeline.{ID}"
        self.entries.append(TIMELINE_ENTRY.validate_json(data))

    def notice(self, subject: str, data: bytes) -> None:
        if subject == f"antiphon.v1.ended.{ID}":
            self.ended.append(messages.decode(data, messages.CallEnded))
        else:
            webhook = messages.decode(data, messages.Webhook)
            assert subject == f"antiphon.v1.webhook.{webhook.type.removeprefix('call.')}"
            self.webhooks.append(webhook)

    def names(self) -> list[str]:
        return [getattr(each, "name", each.type) for each in self.entries]


def statistics(**fields: Any) -> messages.Statistics:
    counts = {"packets_received": 5, "packets_lost": 1, "packets_late": 0, "frames_concealed": 2, "packets_sent": 5}
    return messages.Statistics(**{**counts, "jitter_ms": 1.5, **fields})


def test_a_call_has_its_events_its_statistics_and_its_end_in_its_time_line() -> None:
    written = Written()
    written.record.event(messages.Connected(setup_ms=80), 1.0)
    written.record.event(messages.MediaStarted(setup_ms=90), 1.1)
    written.packets = 5
    written.record.event(statistics(), 6.0)
    written.record.event(messages.Flushed(generation=1, played_samples=1, rate=24000, dropped_ms=20), 7.0)
    written.record.event(messages.Ended(reason="hang_up", cause="bye"), 8.0)
    assert written.names() == ["connected", "media_started", "statistics", "flushed", "ended"]
    assert written.entries[0].at == UNIX + 1
    assert written.entries[2].frames_concealed == 2
    assert written.entries[-1].detail == {"reason": "hang_up", "cause": "bye"}
    (ended,) = written.ended
    assert (ended.reason, ended.cause, ended.ended) == ("hang_up", "bye", UNIX + 8)
    assert [each.type for each in written.webhooks] == ["call.started", "call.ended"]


def test_levels_keys_and_playouts_are_in_no_time_line() -> None:
    written = Written()
    for event in (
        messages.AudioLevel(level_dbov=-10, voice=True),
        messages.TelephoneEvent(event=4, duration_ms=100),
        messages.Playout(generation=1, played_samples=1, rate=24000, queued_ms=0, state="playing"),
    ):
        written.record.event(event, 1.0)
    assert written.entries == []


def test_nothing_is_written_after_the_end_and_the_end_is_written_once() -> None:
    written = Written()
    for _ in range(2):
        written.record.event(messages.Ended(reason="draining"), 1.0)
    written.record.event(messages.Connected(setup_ms=1), 2.0)
    written.record.turn(messages.Turn(number=1, generation=1, began=UNIX), 2.0)
    assert (len(written.ended), len(written.webhooks), len(written.entries)) == (1, 1, 1)


def test_an_adopter_goes_on_with_the_record_and_does_not_start_the_call_again() -> None:
    written = Written(resumed=True)
    written.record.event(messages.TakenOver(handed_over=True, checkpoint_age_ms=3), 1.0)
    written.record.event(messages.Connected(setup_ms=0), 1.1)
    assert written.names() == ["moved", "connected"]
    assert written.entries[0].detail["owner"] == "me"
    assert written.webhooks == []


@pytest.mark.parametrize(
    ("reason", "packets", "told"),
    [
        ("hang_up", 1, "call.ended"),
        ("client_vanished", 1, "call.ended"),
        ("draining", 1, "call.ended"),
        ("hang_up", 0, "call.failed"),
        ("setup_timeout", 0, "call.failed"),
        ("agent_lost", 9, "call.failed"),
        ("internal", 9, "call.failed"),
    ],
)
def test_a_call_has_failed_without_audio_or_by_a_failure_of_ours(
    reason: messages.EndReason, packets: int, told: str
) -> None:
    written = Written()
    written.packets = packets
    written.record.event(messages.Ended(reason=reason), 1.0)
    assert [(each.type, each.reason) for each in written.webhooks] == [(told, reason)]


def test_the_repetitions_of_a_webhook_have_one_id_whichever_process_writes_it() -> None:
    ids = set()
    for _ in range(2):
        written = Written()
        written.record.event(messages.Ended(reason="hang_up"), 1.0)
        ids.add(written.webhooks[0].id)
    assert ids == {f"{ID}_ended"}


def test_a_time_line_takes_so_many_entries_a_second_and_always_the_end() -> None:
    written = Written()
    for number in range(1000):
        written.record.event(messages.ChannelOpened(channel=str(number)), 1.0)
    written.record.event(messages.Ended(reason="hang_up"), 1.0)
    assert len(written.entries) == ENTRIES[1] + 1
    assert written.record.dropped == 1000 - ENTRIES[1]
    assert written.names()[-1] == "ended"


def test_long_texts_are_cut() -> None:
    written = Written()
    written.record.event(messages.SessionError(message="x" * 10_000), 1.0)
    assert len(written.entries[0].detail["message"]) == 500


def test_a_digest_of_the_client_is_in_the_next_entry_of_statistics_alone() -> None:
    written = Written()
    written.record.client_statistics(messages.ClientStatistics(jitter_buffer_ms=40))
    written.record.event(statistics(), 5.0)
    written.record.event(statistics(), 10.0)
    assert [each.client and each.client.jitter_buffer_ms for each in written.entries] == [40, None]


HEARD = {
    "type": "conversation.item.input_audio_transcription.completed",
    "item_id": "item_1",
    "transcript": " Where is my parcel? ",
}


def spoken(status: str, text: str) -> dict[str, Any]:
    content = [{"type": "output_audio", "transcript": text}]
    item = {"id": "item_2", "type": "message", "role": "assistant", "status": status, "content": content}
    return {"type": "response.output_item.done", "item": item}


def test_words_are_written_where_the_setting_allows_it_as_they_were_played() -> None:
    written = Written(words=True)
    for event in (HEARD, spoken("completed", "On its way."), spoken("incomplete", "It will")):
        written.record.to_client(json.dumps(event), 1.0)
    assert [(each.side, each.text, each.complete) for each in written.entries] == [
        ("caller", "Where is my parcel?", True),
        ("agent", "On its way.", True),
        ("agent", "It will", False),
    ]


def test_without_the_setting_no_word_is_written() -> None:
    written = Written()
    written.record.to_client(json.dumps(HEARD), 1.0)
    assert written.entries == []


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        b"\xff",
        json.dumps([HEARD["type"]]),
        json.dumps({**HEARD, "item_id": 7}),
        json.dumps({**HEARD, "transcript": None}),
        json.dumps({"type": "response.output_item.done", "item": {"id": "f", "type": "function_call", "content": 3}}),
        json.dumps({"type": "session.updated", "session": {"instructions": HEARD["type"] + " secret"}}),
        "[" * 100_000 + HEARD["type"],
    ],
)
def test_what_is_no_words_of_the_call_is_left_out(payload: str | bytes) -> None:
    written = Written(words=True)
    written.record.to_client(payload, 1.0)
    assert written.entries == []


def test_very_long_words_are_cut_to_what_an_entry_holds() -> None:
    written = Written(words=True)
    written.record.to_client(json.dumps({**HEARD, "transcript": "w" * 100_000}), 1.0)
    assert len(written.entries[0].text) == messages.MAX_WORDS
