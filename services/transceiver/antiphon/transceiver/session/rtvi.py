"""RTVI, the messages of Pipecat's clients, translated from and to the realtime protocol. Pure: text in, text out.

The agent speaks the realtime protocol, whatever its client speaks. What has to outlive this process stands in
`RtviState`. `rtvi_channels` owns the data channel. Nothing that a client or an agent sends raises an error here: what
can't be used becomes an error message of RTVI for the client, or is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from antiphon.transceiver.session.state import RtviState

VERSION: Final = "2.1.0"
"""Of the protocol that `bot-ready` names: that of @pipecat-ai/client-js 1.13."""
LEGACY_VERSION: Final = "1.2.0"
"""For clients of an earlier one: they take it as their own."""
LABEL: Final = "rtvi-ai"
MAX_MESSAGE: Final = 64 * 1024
"""Characters of a client's message: the size that its transport sends at most."""
MAX_ID: Final = 64
"""Characters of a message's id that come back in an answer."""
MAX_OPEN: Final = 8
"""Items whose text is gathered at once; the oldest is forgotten first."""
MAX_GATHERED: Final = 4096
"""Characters that are gathered of one item; the oldest are forgotten first."""
MAX_KEYS: Final = 32
"""Keys in one `dtmf` message."""
MAX_SHOWN: Final = 80

_EVENT_ID: Final = "rtvi_"
"""Begins the id of an event made from a client's message; the id of that message follows."""
_KEYS: Final = "0123456789*#"
_SENTENCE_END: Final = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?:\s+|$)")
_OWN_FAMILIES: Final = ("session.", "conversation.", "response.", "input_audio_buffer.", "output_audio_buffer.")
_OWN: Final = ("rate_limits.updated",)
"""Events of the realtime protocol. Those without a translation have no counterpart in RTVI and are left out."""


class FromClient(NamedTuple):
    """What one message of the client leads to. A value."""

    events: Sequence[str] = ()
    """Realtime events for the agent."""
    replies: Sequence[str] = ()
    """RTVI messages for the client."""
    errors: Sequence[str] = ()
    """RTVI messages for the client, about what could not be used."""
    keys: Sequence[int] = ()
    """Keys that it has pressed, numbered as in RFC 4733."""
    hang_up: bool = False
    """The client wants the call to end."""


class _Unusable(Exception):
    """Raised for a message that can't be used; the text says why."""


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _read(text: str) -> Any:
    """Strict JSON (RFC 8259); ValueError or RecursionError otherwise."""
    return json.loads(text, parse_constant=_refused)


def _written_json(value: object) -> str:
    """ASCII only: so half a character can be passed on. ValueError for an infinite number."""
    return json.dumps(value, allow_nan=False)


def message(type_: str, data: object = None, message_id: str | None = None) -> str:
    """An RTVI message as JSON."""
    fields: dict[str, object] = {"label": LABEL, "type": type_}
    if message_id is not None:
        fields["id"] = message_id
    if data is not None:
        fields["data"] = data
    return _written_json(fields)


PEER_LEFT: Final = json.dumps({"type": "signalling", "message": {"type": "peerLeft"}})
"""Of the client's transport: the agent has gone. Its client then ends the call and does not connect again."""


# ---- from the client -----------------------------------------------------------------------------------


def from_client(state: RtviState, payload: str | bytes) -> FromClient:
    """Translate one message of the client's data channel; its state may change."""
    if len(payload) > MAX_MESSAGE:
        return _error(None, f"a message has {len(payload)} characters: at most {MAX_MESSAGE} are taken")
    if payload[:4] in ("ping", b"ping"):  # the transport's keepalive, once a second, which takes no answer
        return FromClient()
    try:
        read = _read(payload if isinstance(payload, str) else payload.decode())
    except (ValueError, RecursionError):
        return _error(None, "a message is no JSON: messages of RTVI are JSON objects")
    if not isinstance(read, dict):
        return _error(None, f"a message is a JSON {type(read).__name__}: messages of RTVI are objects")
    type_, data = read.get("type"), read.get("data")
    if type_ == "signalling":
        return FromClient()  # the state of its tracks: what it sends is played or not, whatever it says
    message_id = _id_of(read.get("id"))
    if read.get("label") != LABEL or not isinstance(type_, str):
        return _error(message_id, f'a message has no label "{LABEL}" and type: it is no message of RTVI')
    try:
        return _of_type(state, type_, message_id or "", data if isinstance(data, dict) else {})
    except _Unusable as error:
        return _error(message_id, f"{type_[:MAX_SHOWN]}: {error}")
    except (ValueError, RecursionError):  # values that no writer of JSON takes
        return _error(message_id, f"{type_[:MAX_SHOWN]}: holds values that can't be passed on")


def _of_type(state: RtviState, type_: str, message_id: str, data: dict[str, Any]) -> FromClient:
    match type_:
        case "client-ready":
            state.client_major = _major(data.get("version"))
            version = VERSION if state.client_major >= 2 else LEGACY_VERSION
            about = {"library": "antiphon"}
            return FromClient(replies=[message("bot-ready", {"version": version, "about": about}, message_id)])
        case "disconnect-bot":
            return FromClient(hang_up=True)
        case "send-text":
            return _send_text(message_id, data)
        case "append-to-context":
            item = _text_item(data.get("role", "user"), data.get("content"))
            return FromClient(_answered(message_id, item, data.get("run_immediately") is True, None))
        case "llm-function-call-result":
            return _function_result(message_id, data)
        case "client-message":
            return _client_message(message_id, data)
        case "dtmf":
            return FromClient(keys=_keys(data))
        case _:
            raise _Unusable("this server does not take this type of message")


def _send_text(message_id: str, data: dict[str, Any]) -> FromClient:
    options = data.get("options")
    options = options if isinstance(options, dict) else {}
    item = _text_item("user", data.get("content"))
    runs = options.get("run_immediately") is not False
    response = {"output_modalities": ["text"]} if options.get("audio_response") is False else None
    events = _answered(message_id, item, runs, response)
    if runs:  # the client expects that its text interrupts the agent
        events.insert(0, _event("output_audio_buffer.clear", message_id))
    return FromClient(events)


def _function_result(message_id: str, data: dict[str, Any]) -> FromClient:
    call_id, result = data.get("tool_call_id"), data.get("result")
    if not isinstance(call_id, str) or not call_id:
        raise _Unusable("tool_call_id is missing")
    output = result if isinstance(result, str) else _written_json(result)
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    stopped = {
        "function_name": _text_of(data.get("function_name"))[:MAX_SHOWN],
        "tool_call_id": call_id[:MAX_SHOWN],
        "cancelled": False,
        "result": result,
    }
    return FromClient(_answered(message_id, item, True, None), replies=[message("llm-function-call-stopped", stopped)])


def _client_message(message_id: str, data: dict[str, Any]) -> FromClient:
    """An application's own message: for the agent an event of the type `t` with the fields of `d`."""
    type_, fields = data.get("t"), data.get("d")
    if not isinstance(type_, str) or not type_:
        raise _Unusable("t is missing, which names the type of the message")
    return FromClient([_event(type_, message_id, **(fields if isinstance(fields, dict) else {"data": fields}))])


def _answered(message_id: str, item: dict[str, Any], runs: bool, response: dict[str, Any] | None) -> list[str]:
    events = [_event("conversation.item.create", message_id, item=item)]
    if runs:
        events.append(_event("response.create", message_id, **({} if response is None else {"response": response})))
    return events


def _event(type_: str, message_id: str, **fields: Any) -> str:
    return _written_json({**fields, "type": type_, "event_id": f"{_EVENT_ID}{message_id}"})


def _text_item(role: object, content: object) -> dict[str, Any]:
    if role not in ("user", "assistant", "system", "developer"):
        raise _Unusable(f"role is {role!r:.{MAX_SHOWN}}: user, assistant or system is taken")
    if isinstance(content, list):  # as chat servers take it: parts, of which those of text count
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str) or not content.strip():
        raise _Unusable("content holds no text")
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": content}]}


def _keys(data: dict[str, Any]) -> list[int]:
    buttons = data.get("buttons", [data.get("button")])  # `button`: protocol 2.0
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= MAX_KEYS:
        raise _Unusable(f"buttons has to be a list of 1 to {MAX_KEYS} keys")
    pressed = [_KEYS.find(button) if isinstance(button, str) and len(button) == 1 else -1 for button in buttons]
    if -1 in pressed:
        raise _Unusable(f"a button is none of {_KEYS}")
    return pressed


def _error(message_id: str | None, text: str) -> FromClient:
    """An answer to the message of this id, or an error by itself."""
    if message_id:
        return FromClient(errors=[message("error-response", {"error": text}, message_id)])
    return FromClient(errors=[message("error", {"error": text, "message": text, "fatal": False})])


def _id_of(value: object) -> str | None:
    return value[:MAX_ID] if isinstance(value, str) else None


def _major(version: object) -> int:
    first = version.split(".")[0] if isinstance(version, str) else ""
    return int(first) if first.isascii() and first.isdigit() and len(first) < 4 else 1


# ---- to the client ---------------------------------------------------------------------------------------


def to_client(state: RtviState, payload: str, unix_time: float) -> list[str]:
    """The RTVI messages that one event of the agent becomes, perhaps none; the state may change."""
    try:
        event = _read(payload)
    except (ValueError, RecursionError):
        return [message("server-message", payload)]  # an agent's own text
    try:
        return _of_event(state, event, unix_time)
    except (ValueError, RecursionError):  # values that can be read and not written
        return []


def _of_event(state: RtviState, event: Any, unix_time: float) -> list[str]:
    if not isinstance(event, dict):
        return [message("server-message", event)]
    type_ = event.get("type")
    if not isinstance(type_, str):
        return [message("server-message", event)]
    match type_:
        case "input_audio_buffer.speech_started":
            return [message("user-started-speaking")]
        case "input_audio_buffer.speech_stopped":
            return [message("user-stopped-speaking")]
        case "conversation.item.input_audio_transcription.delta":
            item_id = _text_of(event.get("item_id"))
            text = _gathered(state.transcribed, item_id, _text_of(event.get("delta")))
            return [_transcription(text, False, unix_time)]
        case "conversation.item.input_audio_transcription.completed":
            state.transcribed.pop(_text_of(event.get("item_id")), None)
            text = _text_of(event.get("transcript"))
            return [_transcription(text, True, unix_time), message("user-llm-text", {"text": text})] if text else []
        case "conversation.item.input_audio_transcription.failed":
            state.transcribed.pop(_text_of(event.get("item_id")), None)
            return []
        case "response.created":
            return [message("bot-llm-started")]
        case "response.output_audio_transcript.delta":
            return _spoken(state, event, _text_of(event.get("delta")))
        case "response.output_audio_transcript.done":
            return _ended(state, event, _text_of(event.get("transcript")), True)
        case "response.output_text.delta":
            return _written(state, event, _text_of(event.get("delta")))
        case "response.output_text.done":
            return _ended(state, event, _text_of(event.get("text")), False)
        case "output_audio_buffer.started":
            return [message("bot-tts-started"), message("bot-started-speaking")]
        case "output_audio_buffer.stopped":
            return [message("bot-stopped-speaking"), message("bot-tts-stopped")]
        case "output_audio_buffer.cleared":
            return [message("bot-interrupted"), message("bot-stopped-speaking"), message("bot-tts-stopped")]
        case "response.function_call_arguments.done":
            return _function_call(state, event)
        case "response.done":
            return _response_done(event)
        case "error":
            told = [_error_of(event.get("error"))]
            error = event.get("error")
            return [*told, PEER_LEFT] if isinstance(error, dict) and error.get("code") == "agent_lost" else told
    if type_ in _OWN or type_.startswith(_OWN_FAMILIES):
        return []
    return [message("server-message", event)]


def _transcription(text: str, final: bool, unix_time: float) -> str:
    said_at = datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")
    return message("user-transcription", {"text": text, "final": final, "timestamp": said_at, "user_id": ""})


def _spoken(state: RtviState, event: dict[str, Any], delta: str) -> list[str]:
    """Words that were played: the agent's text comes to the client as it is spoken."""
    if not delta:
        return []
    told = [message("bot-llm-text", {"text": delta}), message("bot-tts-text", {"text": delta})]
    return told + _whole_sentences(state, _text_of(event.get("item_id")), delta, True)


def _written(state: RtviState, event: dict[str, Any], delta: str) -> list[str]:
    if not delta:
        return []
    told = [message("bot-llm-text", {"text": delta})]
    return told + _whole_sentences(state, _text_of(event.get("item_id")), delta, False)


def _ended(state: RtviState, event: dict[str, Any], whole: str, spoken: bool) -> list[str]:
    """The message is complete: the rest of it. An agent that sends no deltas has sent nothing of it yet."""
    item_id = _text_of(event.get("item_id"))
    told: list[str] = []
    if item_id not in state.pending and whole:
        told = (_spoken if spoken else _written)(state, event, whole)
    rest = state.pending.pop(item_id, "")
    return told + _sentences(state, [rest] if rest.strip() else [], spoken)


def _whole_sentences(state: RtviState, item_id: str, delta: str, spoken: bool) -> list[str]:
    text = _gathered(state.pending, item_id, delta)
    sentences: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if end.end() < len(text):  # at the end of the text more may follow, as in "3." and "14"
            sentences.append(text[start : end.end()])
            start = end.end()
    state.pending[item_id] = text[start:]
    return _sentences(state, sentences, spoken)


def _sentences(state: RtviState, sentences: Iterable[str], spoken: bool) -> list[str]:
    told: list[str] = []
    for sentence in sentences:
        text = sentence.strip()
        state.segment += 1
        output: dict[str, Any] = {"text": text, "aggregated_by": "sentence", "output_type": "sentence"}
        if state.client_major < 2:
            output["spoken"] = spoken
        else:
            output |= {"segment_id": state.segment, "will_be_spoken": spoken}
            output["spoken_status"] = "completed" if spoken else "new"
            if spoken:
                output["spoken_progress"] = {"accumulated_text": text, "remaining_text": ""}
        told += [message("bot-transcription", {"text": text}), message("bot-output", output)]
    return told


def _function_call(state: RtviState, event: dict[str, Any]) -> list[str]:
    name, call_id = _text_of(event.get("name")), _text_of(event.get("call_id"))
    try:
        arguments = _read(_text_of(event.get("arguments")) or "{}")
    except (ValueError, RecursionError):
        arguments = {}
    if not isinstance(arguments, dict):
        arguments = {}
    if state.client_major < 2:
        called = {"function_name": name, "tool_call_id": call_id, "args": arguments}
        return [message("llm-function-call", called)]
    called = {"function_name": name, "tool_call_id": call_id, "arguments": arguments}
    return [
        message("llm-function-call-started", {"function_name": name}),
        message("llm-function-call-in-progress", called),
    ]


def _response_done(event: dict[str, Any]) -> list[str]:
    told = [message("bot-llm-stopped")]
    response = event.get("response")
    details = response.get("status_details") if isinstance(response, dict) else None
    if isinstance(details, dict) and details.get("type") == "failed":
        told.append(_error_of(details.get("error")))
    return told


def _error_of(error: object) -> str:
    """`error` of an event: an answer to the client's message that it is about, or an error by itself."""
    fields = error if isinstance(error, dict) else {}
    text = _text_of(fields.get("message")) or "the agent reports an error without a text"
    about = _text_of(fields.get("event_id"))
    if about.startswith(_EVENT_ID) and about != _EVENT_ID:
        return message("error-response", {"error": text}, about.removeprefix(_EVENT_ID))
    return message("error", {"error": text, "message": text, "fatal": False})


def _gathered(texts: dict[str, str], item_id: str, delta: str) -> str:
    """The text of this item with its next piece."""
    if item_id not in texts and len(texts) >= MAX_OPEN:
        del texts[next(iter(texts))]
    texts[item_id] = (texts.get(item_id, "") + delta)[-MAX_GATHERED:]
    return texts[item_id]


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""
