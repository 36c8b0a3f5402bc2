"""The test vectors of `schemas/vectors/`: the wire formats byte by byte, for implementations in other languages.

`make vectors` writes them anew after a format has changed on purpose; a test checks that they are current.
Everything here is fixed, so that the files change only when a format does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgpack

from antiphon.schemas import audio, backbone, messages, subjects, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.schemas.route_token import RouteKeyring, RouteToken, ice_password
from antiphon.schemas.slot_moves import AnnouncementKey, SlotMove

DIRECTORY: Final = Path(__file__).parents[2] / "schemas" / "vectors"

KEYS: Final = ("A:00112233445566778899aabbccddeeff", "b:000102030405060708090a0b0c0d0e0f")
PASSWORD_KEY: Final = bytes(range(32))
TOKENS: Final = (
    RouteToken(0, 0, 0, 0, 0),
    RouteToken(1, 2, 3, 4, 5),
    RouteToken(4095, 65535, 65535, 0xFFFFFFFF, 65535),
    RouteToken(7, 300, 12, 0xDEADBEEF, 59640),
)


def files() -> dict[str, Any]:
    """File name -> content."""
    return {
        "route_tokens.json": route_tokens(),
        "tunnel.json": tunnel_packets(),
        "backbone.json": backbone_packets(),
        "slot_moves.json": slot_moves(),
        "audio_frames.json": audio_frames(),
        "messages.json": control_messages(),
        "subjects.json": subject_names(),
    }


def as_text(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def route_tokens() -> dict[str, Any]:
    valid: list[dict[str, Any]] = []
    for key in KEYS:
        for token in TOKENS:
            ufrag = RouteKeyring.from_text(key).seal(token)
            password = ice_password(PASSWORD_KEY, ufrag)
            valid.append({"key": key, "fields": token._asdict(), "ufrag": ufrag, "password": password})
    good: str = valid[1]["ufrag"]
    last = good[-1]
    # 22 characters carry 132 bits, a block has 128: another last character may decode to the same block.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sibling = alphabet[alphabet.index(last) | 1]
    malformed = {
        "empty": "",
        "too short": good[:-1],
        "too long": good + "A",
        "unknown key id": "Z" + good[1:],
        "key of another token": "b" + good[1:],
        "one character changed": good[:5] + ("A" if good[5] != "A" else "B") + good[6:],
        "not base64": good[:5] + "*" + good[6:],
        "not the canonical spelling": good[:-1] + sibling,
        "padded": good[:-2] + "==",
        "not ASCII": good[:-1] + "é",
    }
    return {
        "about": "ufrag = key id + base64 of AES-128-ECB(key, block) without padding; see formats.json of the export",
        "password_key": PASSWORD_KEY.hex(),
        "valid": valid,
        "malformed": [{"why": why, "keys": ",".join(KEYS), "ufrag": ufrag} for why, ufrag in malformed.items()],
    }


def tunnel_packets() -> dict[str, Any]:
    clients = [
        (Address("192.0.2.1", 3478), False),
        (Address("127.0.0.1", 65535), True),
        (Address("255.255.255.255", 1), False),
        (Address("2001:db8::1", 50000), False),
        (Address("fe80::1:2:3:4", 9), True),
    ]
    payload = bytes.fromhex("000100002112a442")
    header = tunnel.pack_header(*clients[0])
    malformed = {
        "empty": b"",
        "one byte": header[:1],
        "IPv4 header cut": header[:7],
        "IPv6 header cut": tunnel.pack_header(*clients[3])[:19],
        "family 0": bytes(8),
        "family big-endian": b"\x00\x02" + header[2:],
        "client port 0": header[:2] + b"\x00\x00" + header[4:],
        "one that a transceiver passes on": tunnel.pack_forwarded(Address("192.0.2.8", 9), header),
        "a relay's hello, which is no client's packet": tunnel.HELLO,
    }
    return {
        "about": "UDP between relay and transceiver: header, then the client's datagram",
        "hello": tunnel.HELLO.hex(),
        "forwarded": [
            {
                "relay": str(relay),
                "packet": (header + payload).hex(),
                "forwarded": tunnel.pack_forwarded(relay, header + payload).hex(),
            }
            for relay in (Address("192.0.2.8", 41000), Address("2001:db8::8", 41000))
        ],
        "valid": [
            {
                "client": str(client),
                "tcp": tcp,
                "header": tunnel.pack_header(client, tcp).hex(),
                "payload": part.hex(),
                "packet": (tunnel.pack_header(client, tcp) + part).hex(),
            }
            for client, tcp in clients
            for part in (payload, b"")
        ],
        "malformed": [{"why": why, "packet": packet.hex()} for why, packet in malformed.items()],
    }


def backbone_packets() -> dict[str, Any]:
    keys = [bytes(range(32)).hex(), bytes(range(32, 64)).hex()]
    clients = [(Address("192.0.2.1", 3478), False), (Address("2001:db8::1", 50000), True)]
    routes = [backbone.Route(1, 2, 3, 0), backbone.Route(65535, 65535, 65535, 255)]
    payload = bytes.fromhex("000100002112a442")
    header = backbone.pack_header(clients[0][0], routes[0])
    sealer = backbone.BackboneKeys.from_text(keys[0])
    tagged = sealer.seal(header, payload)
    hello = backbone.Hello(backbone.HELLO, 7, True, bytes(range(8)))
    malformed = {
        "empty": b"",
        "a tunnel header": tunnel.pack_header(*clients[0]) + payload,
        "cut in the route": header[:15],
        "version 0": header[:15] + b"\x00" + payload,
        "ingress 0": backbone.pack_header(clients[0][0], backbone.Route(0, 2, 3, 0)) + payload,
        "client on ICE-TCP in the flags only": header[:15] + b"\x12" + payload,
        "a flag that has no meaning": header[:15] + b"\x14" + payload,
        "a tag where there is no key": tagged,
    }
    refused = {
        "no tag": header + payload,
        "cut in the tag": tagged[:20],
        "another datagram": tagged[:-1] + b"\x43",
        "another slot": tagged[:11] + b"\x07" + tagged[12:],
        "another key": backbone.BackboneKeys([bytes(32)]).seal(header, payload),
    }
    return {
        "about": "UDP between relays: header, tag if there is a key, then the client's datagram",
        "keys": keys,
        "valid": [
            {
                "client": str(client),
                "tcp": tcp,
                "route": route._asdict(),
                "header": backbone.pack_header(client, route, tcp).hex(),
                "payload": part.hex(),
                "packet": backbone.BackboneKeys().seal(backbone.pack_header(client, route, tcp), part).hex(),
                "tagged": sealer.seal(backbone.pack_header(client, route, tcp), part).hex(),
            }
            for client, tcp in clients
            for route in routes
            for part in (payload, b"")
        ],
        "hellos": [
            {
                "kind": each.kind,
                "ingress": each.ingress,
                "asks_clients": each.asks_clients,
                "stamp": each.stamp.hex(),
                "packet": backbone.BackboneKeys().seal_hello(each).hex(),
                "tagged": sealer.seal_hello(each).hex(),
            }
            for each in (hello, hello._replace(kind=backbone.ANSWER), hello._replace(asks_clients=False))
        ],
        "hello_for": [{"ingress": number, "packet": tunnel.hello_for(number).hex()} for number in (1, 65535)],
        "malformed": [{"why": why, "packet": packet.hex()} for why, packet in malformed.items()],
        "refused_with_the_first_key": [{"why": why, "packet": packet.hex()} for why, packet in refused.items()],
    }


def slot_moves() -> dict[str, Any]:
    key = AnnouncementKey(bytes(range(32)))
    move = SlotMove((1, 2, 3), (4, 5, 6), 1_700_000_000_000)
    return {
        "about": "Another cluster goes on with a slot's sessions: what is signed, and the Ed25519 signature",
        "seed": bytes(range(32)).hex(),
        "public": key.public,
        "fields": move._asdict(),
        "signed": move.signed_bytes().hex(),
        "signature": key.sign(move),
    }


def audio_frames() -> dict[str, Any]:
    ramp = b"".join((n * 100 - 8000).to_bytes(2, "little", signed=True) for n in range(160))
    frames = [
        AudioFrame(0, 0, 1_767_225_600_000_000_000, 8000, 0, 0, ramp),
        AudioFrame(7, 3200, 1_767_225_600_140_000_000, 16000, FrameFlag.SILENCE, 0, bytes(640)),
        AudioFrame(2**32, 2**40, 2**63, 24000, FrameFlag.CONCEALED, 3, b"\x01\x80" * 480),
        AudioFrame(1, 960, 1, 48000, FrameFlag.END_OF_UTTERANCE, 2**16, b"\xff\x7f" * 960),
    ]
    fields = [audio.AUDIO_VERSION, *frames[0]]

    def packed(place: int, value: object) -> bytes:
        changed: bytes = msgpack.packb([*fields[:place], value, *fields[place + 1 :]])
        return changed

    whole = audio.pack_frame(frames[0])
    malformed = {
        "empty": b"",
        "no msgpack": b"\xc1",
        "cut": whole[:-1],
        "something behind it": whole + b"\x00",
        "a map": b"\x80",
        "an empty array": b"\x90",
        "version 2": packed(0, 2),
        "version true": packed(0, True),
        "seven fields": msgpack.packb(fields[:7]),
        "nine fields": msgpack.packb([*fields, 0]),
        "negative sequence": packed(1, -1),
        "sequence as text": packed(1, "0"),
        "rate 44100": packed(4, 44100),
        "one sample missing": packed(7, ramp[:-2]),
        "samples as text": packed(7, "a" * 320),
    }
    return {
        "about": "one msgpack array: version, sequence, first_sample, captured_ns, rate, flags, generation, pcm",
        "valid": [
            {
                **frame._asdict(),
                "flags": int(frame.flags),
                "pcm": frame.pcm.hex(),
                "packed": audio.pack_frame(frame).hex(),
            }
            for frame in frames
        ],
        "malformed": [{"why": why, "packed": data.hex()} for why, data in malformed.items()],
    }


def of_text_agents() -> list[tuple[str, messages.AnyMessage]]:
    parts: list[messages.AnyReplyPart] = [
        messages.ReplyText(number=0, text="On Monday "),
        messages.ReplySpeech(number=1, pcm="AAABAA==", rate=24000, words="at nine"),
        messages.ReplyPause(number=2, milliseconds=300),
        messages.ReplyCall(number=3, call_id="call_1", name="show_map", arguments='{"place": "clinic"}'),
        messages.ReplyTool(number=4, call_id="call_2", name="book", arguments='{"day": "2026-01-05"}'),
        messages.ReplyTool(number=5, call_id="call_2", name="book", output='"booked"'),
        messages.ReplyHangUp(number=6),
        messages.ReplyTransfer(number=7, agent="billing", summary="wants an invoice"),
        messages.ReplyPerson(number=8, state="offered"),
        messages.ReplyExpect(number=9, kind="date"),
        messages.ReplyState(number=10, state={"day": "2026-01-05"}),
        messages.ReplyRetracted(number=11),
        messages.ReplyUsage(number=12, input_tokens=90, output_tokens=12),
        messages.ReplyIncomplete(number=13, reason="max_output_tokens"),
        messages.ReplyAlive(),
        messages.ReplyEnd(number=14),
        messages.ReplyError(message="no answer", busy=True),
    ]
    return [
        (
            "TextAgentAnnouncement",
            messages.TextAgentAnnouncement(
                agent="desk", instance="c0ffee", greeting="Front desk, good morning.", language="en", tools=["book"]
            ),
        ),
        (
            "ReplyRequest",
            messages.ReplyRequest(
                call_id="rtc_abcdefghijklmnopqrstuvwx",
                agent="desk",
                turn=2,
                text="On Monday, please.",
                now="2026-01-01T10:00:00+01:00",
                items=[{"id": "item_1", "type": "message", "role": "user", "content": []}],
                played=messages.PlayedAnswer(text="Which day", interrupted=True),
                state={"people": 2},
            ),
        ),
        *(("ReplyPart", part) for part in parts),
    ]


def of_operators() -> list[tuple[str, messages.AnyMessage]]:
    """Messages by which the owner of a call tells operators about it."""
    session, trace = "rtc_abcdefghijklmnopqrstuvwx", f"00-{'1f' * 16}-{'2e' * 8}-01"
    turn = messages.Turn(
        number=1,
        generation=2,
        began=1767225601.5,
        parts=messages.TurnParts(end_of_turn=160.0, stt=90.5, agent=120.0, tts=60.0, publish=1.0, playout=12.0),
        end="completed",
        tools=["book"],
        trace=trace,
    )
    call = messages.CallSummary(
        session_id=session,
        agent="desk",
        state="running",
        began=1767225600.0,
        relay="relay-1",
        path="udp",
        turns=1,
        last_turn=turn,
        trace_id="1f" * 16,
        client=messages.ClientStatistics(round_trip_ms=31.5, protocol="udp", candidate="srflx"),
    )
    ended = call.model_copy(update={"state": "ended"})
    return [
        ("Control", messages.ReportTurn(turn=turn, last_sample=96000, published=1767225602.0)),
        ("ListCalls", messages.ListCalls(agent="desk")),
        ("CallList", messages.CallList(owner="c0ffee", total=1, calls=[call])),
        ("CallEnded", messages.CallEnded(call=ended, ended=1767225660.0, reason="hang_up", cause="done")),
        ("Webhook", messages.Webhook(id="wh_1", type="call.started", at=1767225600.5, call=call)),
        ("Drain", messages.Drain()),
        ("TimelineEntry", messages.TimelineEvent(at=1767225600.5, name="connected", detail={"setup_ms": 80.0})),
        ("TimelineEntry", messages.TimelineTurn(at=1767225602.0, turn=turn)),
        ("TimelineEntry", messages.TimelineStatistics(at=1767225605.0, round_trip_ms=31.5, packets_received=250)),
        ("TimelineEntry", messages.TimelineWords(at=1767225603.0, side="agent", item="item_1", text="Hello.")),
    ]


def control_messages() -> dict[str, Any]:
    examples: list[tuple[str, messages.AnyMessage]] = [
        *of_operators(),
        *of_text_agents(),
        (
            "TransceiverAnnouncement",
            messages.TransceiverAnnouncement(
                cluster=0, slot=1, epoch=2, tunnel_address="192.0.2.7:40000", state="ready", sessions=3, capacity=50
            ),
        ),
        (
            "RelayAnnouncement",
            messages.RelayAnnouncement(
                name="relay-1",
                region="eu",
                public_addresses=["203.0.113.10:3478", "[2001:db8::10]:3478"],
                tunnel_addresses=["192.0.2.8:41000"],
            ),
        ),
        (
            "RelayStatistics",
            messages.RelayStatistics(
                name="relay-1", path="batched", packets_to_clients=9, drops={"no_flow": 2}, batches={"4": 3}
            ),
        ),
        ("NumberClaim", messages.NumberClaim(holder="relay-1", process="c0ffee", renewed_at=1767225600.0)),
        ("SlotClaim", messages.SlotClaim(epoch=2, holder="c0ffee", claimed_at=1767225600.0)),
        ("TakeOver", messages.TakeOver(cluster=0, slot=3, epoch=2, holder="c0ffee")),
        ("Adopt", messages.Adopt(cluster=0, slot=3, epoch=2, sessions=["rtc_abcdefghijklmnopqrstuvwx"])),
        (
            "SlotMoved",
            messages.SlotMoved(
                cluster=1, slot=2, epoch=3, to_cluster=4, to_slot=5, to_epoch=6, made_at=9, signature="0f" * 64
            ),
        ),
        (
            "StoreCopy",
            messages.StoreCopy(
                cluster=1,
                slot=2,
                epoch=3,
                session_id="rtc_abcdefghijklmnopqrstuvwx",
                generation=1,
                number=7,
                sealed="c2VhbGVk",
            ),
        ),
        ("CopyReply", messages.CopyReply(stored=True)),
        ("CopyReply", messages.CopyReply(stored=False, reason="taken", message="cluster 2 goes on with the call")),
        (
            "CopyLease",
            messages.CopyLease(
                cluster=1,
                slot=2,
                epoch=3,
                holder="c0ffee",
                holder_cluster=1,
                generation=1,
                withdrawn=False,
                number=42,
            ),
        ),
        (
            "LeaseRegister",
            messages.LeaseRegister(
                registers=3,
                promised_round=4,
                promised_to="c0ffee-1",
                accepted_round=3,
                accepted_of="c0ffee-1",
                number=42,
                lease=messages.CopyLease(
                    cluster=1, slot=2, epoch=3, holder="c0ffee", holder_cluster=1, generation=1, number=42
                ),
            ),
        ),
        ("OpenRequest", messages.OpenRequest(offer="v=0\r\n", agent="concierge", session={"type": "realtime"})),
        (
            "OpenRequest",
            messages.OpenRequest(
                offer="",
                session_id="rtc_abcdefghijklmnopqrstuvwx",
                ice=messages.IceCredentials(ufrag="EsAw", password="bP+XJMM09aR8AiX1jdukzR6Y"),
                ice_sessions=["*"],
            ),
        ),
        ("OpenReply", messages.Opened(session_id="rtc_abcdefghijklmnopqrstuvwx", answer="v=0\r\n")),
        (
            "OpenReply",
            messages.Opened(
                session_id="rtc_abcdefghijklmnopqrstuvwx",
                answer="",
                cluster=1,
                ice=messages.IceCredentials(ufrag="A" * 23, password="b" * 24),
            ),
        ),
        ("OpenReply", messages.Refused(code="full", message="all 50 places are taken")),
        ("Claim", messages.Claim(session_id="rtc_abcdefghijklmnopqrstuvwx", agent="concierge")),
        ("ClaimReply", messages.ClaimReply(accepted=True, input_rate=16000, instance="bridge-1")),
        ("ClaimReply", messages.ClaimReply(accepted=False, message="full")),
        (
            "Lease",
            messages.Lease(
                session_id="rtc_abcdefghijklmnopqrstuvwx",
                agent="concierge",
                instance="bridge-1",
                started_at=1767225600.0,
                state={"said": ["Hello."]},
            ),
        ),
        ("AgentBeat", messages.AgentBeat(instance="bridge-1", sessions=3, capacity=32)),
        ("Control", messages.Flush(generation=4)),
        ("Control", messages.Pause()),
        ("Control", messages.Resume()),
        ("Control", messages.HangUp(reason="done", instance="echo-1")),
        ("Control", messages.Transfer(agent="billing")),
        (
            "Control",
            messages.Transfer(agent="billing", handed=messages.HandedCall(summary="wants an invoice", silent=True)),
        ),
        ("Control", messages.AskPerson(summary="wants to complain")),
        ("TransferCall", messages.TransferCall(agent="reception", summary="Anna is on the line")),
        ("TransferCall", messages.TransferCall(refusal="the office is closed")),
        ("HangUp", messages.HangUp(reason="hang_up")),
        ("Attach", messages.Attach(creator="0123456789abcdef")),
        ("AttachReply", messages.AttachReply(ok=True, agent="concierge")),
        ("ControlReply", messages.ControlReply(ok=True)),
        ("SessionEvent", messages.Connected(setup_ms=120.5)),
        ("SessionEvent", messages.MediaStarted(setup_ms=140.25)),
        (
            "SessionEvent",
            messages.Playout(generation=1, played_samples=4800, rate=24000, queued_ms=300, state="playing"),
        ),
        ("SessionEvent", messages.Flushed(generation=1, played_samples=9600, rate=24000, dropped_ms=180)),
        ("SessionEvent", messages.PlayoutOverflow(dropped_frames=5)),
        ("SessionEvent", messages.ChannelOpened(channel="oai-events")),
        ("SessionEvent", messages.ChannelClosed(channel="oai-events")),
        ("SessionEvent", messages.Suspect(silent_s=5.0)),
        ("SessionEvent", messages.DirectionChanged(direction="inactive")),
        ("SessionEvent", messages.Transferred(agent="billing", instance="billing-1")),
        ("SessionEvent", messages.TransferFailed(agent="billing", message="agent 'billing' does not answer")),
        ("SessionEvent", messages.PersonAsked(summary="wants to complain")),
        ("SessionEvent", messages.Draining(seconds=30.0)),
        ("SessionEvent", messages.TelephoneEvent(event=11, duration_ms=160.0)),
        ("SessionEvent", messages.AudioLevel(level_dbov=-30, voice=True)),
        (
            "SessionEvent",
            messages.Statistics(
                packets_received=100,
                packets_lost=1,
                packets_late=0,
                frames_concealed=1,
                packets_sent=90,
                jitter_ms=1.5,
                round_trip_ms=20.0,
                packets_refused=2,
                packets_replayed=3,
                records_refused=1,
            ),
        ),
        ("SessionEvent", messages.SessionError(message="audio frame has rate 44100")),
        ("SessionEvent", messages.Ended(reason="hang_up", cause="goodbye")),
        (
            "CallStatus",
            messages.CallStatus(
                session_id="rtc_abcdefghijklmnopqrstuvwx",
                state="ended",
                connected=False,
                spoke=False,
                reason="hang_up",
                cause="agent_returned",
            ),
        ),
        ("DataMessage", messages.DataMessage.of("oai-events", '{"type":"response.cancel"}')),
        ("DataMessage", messages.DataMessage.of("binary", b"\x00\xff")),
        ("FlowFind", messages.FlowFind(client="198.51.100.4:50000")),
        ("FlowOwner", messages.FlowOwner(cluster=0, slot=1, epoch=2)),
    ]
    malformed = [
        ("Claim", "no JSON", "{"),
        ("Claim", "no object", "[]"),
        ("Claim", "a field is missing", '{"version":2,"session_id":"rtc_a"}'),
        ("Claim", "version 1: subjects without the agent's name", '{"version":1,"session_id":"rtc_a","agent":"a"}'),
        ("Control", "unknown type", '{"version":1,"type":"dance"}'),
        ("Control", "a transfer to an agent with a dot", '{"version":1,"type":"transfer","agent":"a.b"}'),
        ("Control", "version 2", '{"version":2,"type":"pause"}'),
        ("Control", "negative generation", '{"version":1,"type":"flush","generation":-1}'),
        ("SessionEvent", "unknown type", '{"version":1,"type":"dance"}'),
        ("OpenReply", "unknown code", '{"version":1,"type":"refused","code":"dance","message":""}'),
        (
            "OpenRequest",
            "a ufrag with a line break",
            '{"version":1,"offer":"","ice":{"ufrag":"EsAw\\n","password":"bP+XJMM09aR8AiX1jdukzR6Y"}}',
        ),
        ("OpenRequest", "agent with a dot", '{"version":1,"offer":"","agent":"a.b"}'),
        (
            "RelayAnnouncement",
            "a name for an address",
            '{"version":1,"name":"r","public_addresses":["localhost:1"],"tunnel_addresses":["127.0.0.1:1"]}',
        ),
        (
            "TransceiverAnnouncement",
            "slot out of range",
            '{"version":1,"cluster":0,"slot":65536,"epoch":0,"tunnel_address":"127.0.0.1:1","state":"ready",'
            '"sessions":0,"capacity":1}',
        ),
        ("FlowOwner", "text for a number", '{"version":1,"cluster":"zero","slot":0,"epoch":0}'),
    ]
    return {
        "about": "JSON in UTF-8; unknown fields are ignored, unknown versions refused",
        "valid": [{"message": name, "json": json.loads(messages.encode(message))} for name, message in examples],
        "malformed": [{"message": name, "why": why, "text": text} for name, why, text in malformed],
    }


def subject_names() -> dict[str, Any]:
    session = "rtc_abcdefghijklmnopqrstuvwx"
    return {
        "about": "NATS subjects; a name in them may hold letters, digits, - and _, at most 64 of them",
        "valid": {
            "transceiver_announce": {"cluster": 1, "slot": 2, "subject": subjects.transceiver_announce(1, 2)},
            "transceiver_open": {"cluster": 1, "slot": 2, "subject": subjects.transceiver_open(1, 2)},
            "transceiver_take_over": {"cluster": 1, "slot": 2, "subject": subjects.transceiver_take_over(1, 2)},
            "transceiver_adopt": {"cluster": 1, "slot": 2, "subject": subjects.transceiver_adopt(1, 2)},
            "cluster_moved": {"cluster": 1, "subject": subjects.cluster_moved(1)},
            "copy_store": {"cluster": 2, "subject": subjects.copy_store(2)},
            "cluster_call": {
                "cluster": 2,
                "session": session,
                "kind": "open",
                "subject": subjects.cluster_call(2, session, "open"),
            },
            "relay_announce": {"name": "relay-1", "subject": subjects.relay_announce("relay-1")},
            "relay_stats": {"name": "relay-1", "subject": subjects.relay_stats("relay-1")},
            "agent_claim": {"name": "concierge", "subject": subjects.agent_claim("concierge")},
            "agent_claim_of": {
                "name": "concierge",
                "instance": "host.1",
                "subject": subjects.agent_claim_of("concierge", "host.1"),
            },
            "agent_beat": {"name": "concierge", "subject": subjects.agent_beat("concierge")},
            "agent_announce": {"name": "desk", "subject": subjects.agent_announce("desk")},
            "agent_reply": {"name": "desk", "subject": subjects.agent_reply("desk")},
            "worker": {"kind": "stt", "subject": subjects.worker("stt")},
            **{
                build.__name__: {"agent": "concierge", "session": session, "subject": build("concierge", session)}
                for build in (
                    subjects.audio_in,
                    subjects.audio_out,
                    subjects.session_event,
                    subjects.session_control,
                    subjects.data_in,
                    subjects.data_out,
                )
            },
            **{
                build.__name__: {"session": session, "subject": build(session)}
                for build in (
                    subjects.call_attach,
                    subjects.call_open,
                    subjects.call_hang_up,
                    subjects.call_transfer,
                    subjects.call_status,
                    subjects.call_timeline,
                    subjects.call_ended,
                )
            },
            "calls_list": {"subject": subjects.CALLS_LIST},
            "webhook": {"kind": "started", "subject": subjects.webhook("started")},
            "process_drain": {
                "service": "antiphon-relay",
                "id": "Ab1",
                "subject": subjects.process_drain("antiphon-relay", "Ab1"),
            },
            "flow_find": {"subject": subjects.FLOW_FIND},
            "worker_llm": {"subject": subjects.WORKER_LLM},
        },
        "malformed_names": ["", "a.b", "a b", "*", ">", "é", "a" * 65, "a\n"],
    }


def main() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (DIRECTORY / name).write_text(as_text(content))
        print(DIRECTORY / name)


if __name__ == "__main__":
    main()
