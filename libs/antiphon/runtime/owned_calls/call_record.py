"""What the owner of a call writes about it for operators: its time line, its end, webhooks. Sans-IO.

A call has one owner at a time, and its record goes with it: the process that goes on with a call writes the entry
`moved`, and the one that ends the call writes its end. So a call ends once in the records, however often it moved.
Nothing here can fail a call or keep it waiting. Secrets and instructions are in no entry: only events of the session
are, and words where a setting allows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages, subjects

ENTRIES: Final = (10, 100)
"""Of a time line, per second and at once: a call has 1 in 5 s, and a few at its start. Further ones are dropped."""
MAX_TEXT: Final = 500
"""Characters of a text in an entry."""
FAILURES: Final = frozenset({"agent_lost", "internal", "dtls_failed", "setup_timeout"})
"""Ends that are a failure of ours, or of the set-up."""
_LEFT_OUT: Final = (messages.AudioLevel, messages.TelephoneEvent, messages.Playout)
"""Too many, and keys may be a caller's card number."""
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_SPOKEN: Final = "response.output_item.done"


class RecordOutput(Protocol):
    """Where records go. None of these may block."""

    def entry(self, subject: str, data: bytes) -> None:
        """Of a time line: one that is lost is missed by nobody's accounts."""

    def notice(self, subject: str, data: bytes) -> None:
        """An ended call or a webhook: kept until NATS has it. The same one may be written twice."""


class CallRecord:
    """The record of one call, from when its session is made until it ends here or goes on in another process.

    Owner: the output of the call, which calls it on the event loop only.
    """

    def __init__(
        self,
        session_id: str,
        output: RecordOutput,
        summary: Callable[[], messages.CallSummary | None],
        unix_offset: float,
        words: bool = False,
        resumed: bool = False,
    ) -> None:
        """`summary()`: the call as it is now; None if there is none. `unix_offset`: Unix time less the time that `now`
        counts. `words`: what is said is written as well. `resumed`: another process began the call, and told so."""
        self.dropped = 0
        """Entries beyond the rate."""
        self._output = output
        self._summary = summary
        self._unix_offset = unix_offset
        self._words = words
        self._session_id = session_id
        self._subject = subjects.call_timeline(session_id)
        self._bucket = TokenBucket(*ENTRIES)
        self._client: messages.ClientStatistics | None = None
        """A digest that no entry has yet."""
        self._started = resumed
        self._ended = False

    def event(self, event: messages.Message, now: float) -> None:
        """The session has published this event."""
        if self._ended or isinstance(event, _LEFT_OUT):
            return
        if isinstance(event, messages.Statistics):
            self._statistics(event, now)
            return
        if isinstance(event, messages.Ended):
            self._end(event, now)
            return
        detail = event.model_dump(exclude_none=True, exclude={"version"})
        name = detail.pop("type", type(event).__name__)
        if isinstance(event, messages.TakenOver):
            name = "moved"
            if (summary := self._summary()) is not None:
                detail |= {"owner": summary.owner, "cluster": summary.cluster, "slot": summary.slot}
        self._write_event(name, detail, now)
        if isinstance(event, messages.PersonAsked):
            self._webhook("call.person_asked", now, summary=event.summary)
        if isinstance(event, messages.Connected | messages.MediaStarted) and not self._started:
            self._started = True
            self._webhook("call.started", now)

    def turn(self, turn: messages.Turn, now: float) -> None:
        """A turn, as it is known so far."""
        if not self._ended:
            self._write(messages.TimelineTurn(at=self._unix(now), turn=turn), now)

    def client_statistics(self, digest: messages.ClientStatistics) -> None:
        """The client's digest: the next entry of statistics has it."""
        self._client = digest

    def to_client(self, payload: str | bytes, now: float) -> None:
        """A message on the events channel goes to the client: words that are complete are written, if that is set."""
        if not self._words or self._ended or not isinstance(payload, str):
            return
        if _TRANSCRIBED not in payload and _SPOKEN not in payload:
            return
        try:
            event = json.loads(payload)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict) and (words := _words_of(event, self._unix(now))) is not None:
            self._write(words, now)

    # ---- inside ------------------------------------------------------------------------------------

    def _unix(self, now: float) -> float:
        return round(now + self._unix_offset, 3)

    def _statistics(self, event: messages.Statistics, now: float) -> None:
        summary = self._summary()
        client, self._client = self._client, None
        self._write(
            messages.TimelineStatistics(
                at=self._unix(now),
                round_trip_ms=event.round_trip_ms,
                jitter_ms=event.jitter_ms,
                packets_received=event.packets_received,
                packets_lost=event.packets_lost,
                remote_packets_lost=event.remote_packets_lost,
                frames_concealed=event.frames_concealed,
                lateness_ms=summary.lateness_ms if summary is not None else 0.0,
                client=client,
            ),
            now,
        )

    def _end(self, event: messages.Ended, now: float) -> None:
        self._ended = True
        detail = event.model_dump(exclude_none=True, exclude={"type", "version", "statistics"})
        self._write_event("ended", detail, now, always=True)
        call = self._summary()
        if call is None:
            return
        at = self._unix(now)
        ended = messages.CallEnded(call=call, ended=at, reason=event.reason, cause=event.cause)
        self._output.notice(subjects.call_ended(self._session_id), messages.encode(ended))
        failed = event.reason in FAILURES or not call.packets_received
        self._webhook("call.failed" if failed else "call.ended", now, call, event)

    def _webhook(
        self,
        kind: Any,
        now: float,
        call: messages.CallSummary | None = None,
        end: messages.Ended | None = None,
        summary: str = "",
    ) -> None:
        call = call or self._summary()
        if call is None:
            return
        short = kind.removeprefix("call.")
        # The same id whichever process writes it, and however often: receivers tell repetitions by it. A call begins
        # and ends once; a person may be asked for again.
        nth = f"_{self._unix(now) * 1000:.0f}" if short == "person_asked" else ""
        webhook = messages.Webhook(
            id=f"{self._session_id}_{'ended' if end is not None else short}{nth}",
            type=kind,
            at=self._unix(now),
            call=call,
            reason=end.reason if end is not None else None,
            cause=end.cause if end is not None else "",
            summary=summary,
        )
        self._output.notice(subjects.webhook(short), messages.encode(webhook))

    def _write_event(self, name: str, detail: dict[str, Any], now: float, always: bool = False) -> None:
        short = {key: value[:MAX_TEXT] if isinstance(value, str) else value for key, value in detail.items()}
        self._write(messages.TimelineEvent(at=self._unix(now), name=name, detail=short), now, always)

    def _write(self, entry: messages.Message, now: float, always: bool = False) -> None:
        if self._bucket.take(1, now) or always:
            self._output.entry(self._subject, messages.encode(entry))
        else:
            self.dropped += 1


def _words_of(event: dict[str, Any], at: float) -> messages.TimelineWords | None:
    """What the caller said, or what was played of an answer: its item is done then, whole or interrupted."""
    if event.get("type") == _TRANSCRIBED:
        item, text, complete = event.get("item_id"), event.get("transcript"), True
        side: Any = "caller"
    elif event.get("type") == _SPOKEN and isinstance(done := event.get("item"), dict):
        content = done.get("content")
        parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        texts = [part.get("transcript") or part.get("text") for part in parts]
        item, text = done.get("id"), " ".join(each for each in texts if isinstance(each, str))
        side, complete = "agent", done.get("status") == "completed"
    else:
        return None
    if not isinstance(item, str) or not isinstance(text, str) or not text.strip():
        return None
    return messages.TimelineWords(
        at=at, side=side, item=item[:64], text=text.strip()[: messages.MAX_WORDS], complete=complete
    )
