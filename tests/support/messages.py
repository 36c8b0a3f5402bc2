"""Random but valid control messages, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from antiphon.schemas import messages as m
from antiphon.schemas.addresses import Address

# NATS carries UTF-8, which has no lone surrogates.
text = st.text(st.characters(codec="utf-8"), max_size=40)
names = st.text("abcXYZ019-_", min_size=1, max_size=64)
numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(0, 1e9)
counts = st.integers(0, 2**53)
epochs = st.integers(0, 2**16 - 1)
clusters = st.integers(0, 2**12 - 1)
rates = st.sampled_from((8000, 16000, 24000, 48000))
addresses = st.builds(Address, st.ip_addresses().map(str), st.integers(1, 65535)).map(str)
settings = st.dictionaries(text, text | st.booleans() | st.lists(st.integers(-(2**53), 2**53), max_size=3), max_size=3)

statistics = st.builds(
    m.Statistics,
    packets_received=counts,
    packets_lost=counts,
    packets_late=counts,
    frames_concealed=counts,
    packets_sent=counts,
    jitter_ms=positive,
    round_trip_ms=st.none() | positive,
    remote_packets_lost=st.none() | counts,
    packets_refused=counts,
    packets_replayed=counts,
    records_refused=counts,
)

milliseconds = st.none() | st.floats(0, 600_000)
turns = st.builds(
    m.Turn,
    number=st.integers(1, 2**20),
    generation=counts,
    began=positive,
    parts=st.builds(m.TurnParts, end_of_turn=milliseconds, stt=milliseconds, client=milliseconds),
    end=st.none() | st.sampled_from(("completed", "interrupted", "failed", "session_closed")),
    tools=st.lists(names, max_size=3),
)
clients = st.builds(
    m.ClientStatistics,
    round_trip_ms=milliseconds,
    packets_received=st.none() | st.integers(0, 2**53 - 1),
    packets_lost=st.none() | st.integers(-9, 2**53 - 1),
    protocol=st.none() | st.sampled_from(("udp", "tcp")),
)
summaries = st.builds(
    m.CallSummary,
    session_id=names,
    agent=names,
    kind=st.sampled_from(("webrtc", "websocket")),
    state=st.sampled_from(("connecting", "running", "suspect", "ended")),
    began=positive,
    round_trip_ms=st.none() | positive,
    last_turn=st.none() | turns,
    client=st.none() | clients,
)
reasons = st.sampled_from(("hang_up", "client_vanished", "internal"))

STRATEGIES: dict[str, st.SearchStrategy[m.AnyMessage]] = {
    "TransceiverAnnouncement": st.builds(
        m.TransceiverAnnouncement,
        cluster=clusters,
        slot=epochs,
        epoch=epochs,
        tunnel_address=addresses,
        state=st.sampled_from(("ready", "draining")),
        sessions=counts,
        capacity=counts,
        lateness_ms=positive,
        holder=names,
        lifeline=st.none() | addresses,
    ),
    "Adopt": st.builds(
        m.Adopt, cluster=clusters, slot=epochs, epoch=epochs, sessions=st.lists(names, min_size=1, max_size=5)
    ),
    "TakeOver": st.builds(m.TakeOver, cluster=clusters, slot=epochs, epoch=epochs, holder=names),
    "RelayAnnouncement": st.builds(
        m.RelayAnnouncement,
        name=names,
        region=names,
        public_addresses=st.lists(addresses, min_size=1, max_size=16),
        tunnel_addresses=st.lists(addresses, min_size=1, max_size=16),
        state=st.sampled_from(("ready", "draining")),
        taking_over=st.booleans(),
        cluster=st.none() | clusters,
        ingress=epochs,
        backbone_addresses=st.lists(addresses, max_size=4),
        round_trips=st.dictionaries(st.integers(0, 4095).map(str), st.floats(0, 1000), max_size=3),
        place=st.none() | st.builds(m.Place, latitude=st.floats(-90, 90), longitude=st.floats(-180, 180)),
    ),
    "SlotMoved": st.builds(
        m.SlotMoved,
        cluster=clusters,
        slot=epochs,
        epoch=epochs,
        to_cluster=clusters,
        to_slot=epochs,
        to_epoch=epochs,
        made_at=st.integers(0, 1 << 62),
        signature=st.text("0123456789abcdef", min_size=128, max_size=128),
    ),
    "StoreCopy": st.builds(
        m.StoreCopy,
        cluster=clusters,
        slot=epochs,
        epoch=epochs,
        session_id=names,
        generation=counts,
        number=counts,
        sealed=text,
        ended=st.booleans(),
    ),
    "CopyReply": st.builds(m.CopyReply, stored=st.booleans(), reason=st.sampled_from(("", "stale", "taken"))),
    "CopyLease": st.builds(
        m.CopyLease,
        cluster=clusters,
        slot=epochs,
        epoch=epochs,
        holder=names,
        holder_cluster=clusters,
        generation=counts,
        withdrawn=st.booleans(),
        number=counts,
    ),
    "LeaseRegister": st.builds(
        m.LeaseRegister,
        registers=st.sampled_from((1, 3, 5)),
        promised_round=counts,
        promised_to=names,
        accepted_round=counts,
        accepted_of=names,
        number=counts,
    ),
    "RelayStatistics": st.builds(
        m.RelayStatistics,
        name=names,
        path=st.sampled_from(("batched", "portable", "none")),
        packets_to_clients=counts,
        flows_confirmed=counts,
        relays_out=st.lists(names, max_size=3),
        round_trips=st.dictionaries(st.integers(0, 4095).map(str), st.floats(0, 1000), max_size=3),
        drops=st.dictionaries(names, counts, max_size=3),
    ),
    "NumberClaim": st.builds(m.NumberClaim, holder=names, process=names, renewed_at=positive),
    "SlotClaim": st.builds(m.SlotClaim, epoch=epochs, holder=text, claimed_at=numbers),
    "OpenRequest": st.builds(m.OpenRequest, offer=text, agent=names, session=settings),
    "OpenReply": st.builds(m.Opened, session_id=names, answer=text)
    | st.builds(m.Refused, code=st.sampled_from(("full", "draining", "bad_offer", "no_agent")), message=text),
    "Claim": st.builds(m.Claim, session_id=names, agent=names, session=settings, expires_at=positive),
    "ClaimReply": st.builds(m.ClaimReply, accepted=st.booleans(), input_rate=rates, instance=names, message=text),
    "Lease": st.builds(
        m.Lease,
        session_id=names,
        agent=names,
        instance=text,
        input_rate=rates,
        session=settings,
        takeovers=counts,
        deaths=counts,
        started_at=positive,
        trace=st.dictionaries(names, text, max_size=2),
        state=settings,
        shadow_of=names,
    ),
    "AgentBeat": st.builds(m.AgentBeat, instance=text, sessions=counts, capacity=counts, leaving=st.booleans()),
    "Control": st.builds(m.Flush, generation=counts)
    | st.builds(m.Pause)
    | st.builds(m.Resume)
    | st.builds(m.HangUp, reason=text)
    | st.builds(m.Transfer, agent=names, handed=st.none() | st.builds(m.HandedCall, agent=names, summary=text))
    | st.builds(m.AskPerson, summary=text),
    "HangUp": st.builds(m.HangUp, reason=text, instance=names),
    "Attach": st.builds(m.Attach, creator=text),
    "AttachReply": st.builds(m.AttachReply, ok=st.booleans(), agent=names, message=text),
    "ControlReply": st.builds(m.ControlReply, ok=st.booleans(), message=text),
    "SessionEvent": st.builds(m.Connected, setup_ms=positive)
    | st.builds(m.MediaStarted, setup_ms=positive)
    | st.builds(
        m.Playout,
        generation=counts,
        played_samples=counts,
        rate=rates,
        queued_ms=counts,
        state=st.sampled_from(("started", "playing", "paused", "ended")),
    )
    | st.builds(m.Flushed, generation=counts, played_samples=counts, rate=rates, dropped_ms=counts)
    | st.builds(m.PlayoutOverflow, dropped_frames=counts)
    | st.builds(m.ChannelOpened, channel=text)
    | st.builds(m.DirectionChanged, direction=st.sampled_from(("sendrecv", "sendonly", "recvonly", "inactive")))
    | st.builds(m.ChannelClosed, channel=text)
    | st.builds(m.Suspect, silent_s=st.floats(0, 30))
    | st.builds(m.TakenOver, handed_over=st.booleans(), checkpoint_age_ms=positive)
    | st.builds(m.Transferred, agent=names, instance=text)
    | st.builds(m.TransferFailed, agent=names, message=text)
    | st.builds(m.PersonAsked, summary=text)
    | st.builds(m.Draining, seconds=st.floats(0, 3600))
    | st.builds(m.TelephoneEvent, event=st.integers(0, 255), duration_ms=st.floats(0, 8000))
    | st.builds(m.AudioLevel, level_dbov=st.integers(-127, 0), voice=st.booleans())
    | statistics
    | st.builds(m.ClaimExpired, instance=names)
    | st.builds(m.SessionError, message=text)
    | st.builds(m.Ended, reason=st.sampled_from(("hang_up", "client_vanished")), statistics=st.none() | statistics),
    "CallStatus": st.builds(
        m.CallStatus,
        session_id=names,
        state=st.sampled_from(("running", "ended")),
        connected=st.booleans(),
        spoke=st.booleans(),
        reason=st.none() | st.sampled_from(("hang_up", "client_vanished")),
        cause=text,
    ),
    "ListCalls": st.builds(m.ListCalls, session_ids=st.lists(names, max_size=3), agent=names, after=names),
    "TransferCall": st.builds(m.TransferCall, agent=names | st.just(""), refusal=text, summary=text, creator=text),
    "CallList": st.builds(m.CallList, owner=names, total=counts, calls=st.lists(summaries, max_size=3)),
    "CallEnded": st.builds(m.CallEnded, call=summaries, ended=positive, reason=reasons, cause=text),
    "Webhook": st.builds(
        m.Webhook,
        id=names,
        type=st.sampled_from(("call.started", "call.ended", "call.failed")),
        at=positive,
        call=summaries,
        reason=st.none() | reasons,
    ),
    "Drain": st.builds(m.Drain),
    "TimelineEntry": st.builds(m.TimelineEvent, at=positive, name=names, detail=settings)
    | st.builds(m.TimelineTurn, at=positive, turn=turns)
    | st.builds(m.TimelineStatistics, at=positive, round_trip_ms=st.none() | positive, client=st.none() | clients)
    | st.builds(m.TimelineWords, at=positive, side=st.sampled_from(("caller", "agent")), item=names, text=text),
    "DataMessage": st.builds(m.DataMessage.of, text, text | st.binary(max_size=40)),
    "TextAgentAnnouncement": st.builds(
        m.TextAgentAnnouncement, agent=names, instance=names, greeting=text, answering=counts, leaving=st.booleans()
    ),
    "ReplyRequest": st.builds(
        m.ReplyRequest,
        call_id=names,
        agent=names,
        event=st.sampled_from(("turn", "call_started", "silence", "call_ended")),
        turn=counts,
        text=text,
        said=text,
        keys=st.text("0123456789*#", max_size=8),
        played=st.none() | st.builds(m.PlayedAnswer, text=text, interrupted=st.booleans()),
        session=settings,
        state=st.none() | settings,
        speculative=st.booleans(),
    ),
    "ReplyPart": st.builds(m.ReplyText, number=counts, text=text)
    | st.builds(m.ReplySpeech, number=counts, pcm=st.sampled_from(("", "AAABAA==")), words=text)
    | st.builds(m.ReplyPause, number=counts, milliseconds=st.integers(0, 10_000))
    | st.builds(m.ReplyCall, number=counts, call_id=names, name=names, arguments=text)
    | st.builds(m.ReplyTool, number=counts, call_id=names, name=names, output=st.none() | text, failed=st.booleans())
    | st.builds(m.ReplyHangUp, number=counts)
    | st.builds(m.ReplyTransfer, number=counts, agent=names, summary=text)
    | st.builds(m.ReplyPerson, number=counts, state=st.sampled_from(("offered", "accepted")), summary=text)
    | st.builds(m.ReplyExpect, number=counts, kind=st.sampled_from(("number", "name", "date", "yes_no", "anything")))
    | st.builds(m.ReplyState, number=counts, state=st.none() | settings)
    | st.builds(m.ReplyRetracted, number=counts)
    | st.builds(m.ReplyUsage, number=counts, input_tokens=counts, output_tokens=counts)
    | st.builds(m.ReplyIncomplete, number=counts, reason=st.sampled_from(("max_output_tokens", "content_filter")))
    | st.builds(m.ReplyAlive)
    | st.builds(m.ReplyEnd, number=counts)
    | st.builds(m.ReplyError, message=text, busy=st.booleans()),
    "FlowFind": st.builds(m.FlowFind, client=addresses, tcp=st.booleans()),
    "FlowOwner": st.builds(m.FlowOwner, cluster=clusters, slot=epochs, epoch=epochs),
}


def any_message(name: str) -> st.SearchStrategy[m.AnyMessage]:
    """Valid messages of one entry of `messages.MESSAGES`."""
    return STRATEGIES[name]
