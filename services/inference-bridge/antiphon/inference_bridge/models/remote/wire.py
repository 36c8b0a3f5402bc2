"""What a bridge and its speech workers send each other: requests on `subjects.worker`, msgpack arrays both ways.

    stt    [version, prompt, pcm, language] -> [version, "text", text, work_ms]
    tts    [version, text, speed]      -> [version, "pcm", pcm, work_ms, last], pieces of a second
           [version, text, speed, voice, language]   where a session has chosen; empty: the worker's own
    any                                -> [version, "error", message, busy]

`language` may be missing: then it is the worker's own. A worker of an older version ignores it, so a bridge sends it
only where a call asks for one. `pcm` is s16le mono, 16 kHz to a transcriber, 24 kHz from a voice. A worker
that is busy answers with an error at once, so that the bridge asks another one.

Workers for language models get a `ReplyRequest` and answer with `ReplyPart`s, as text agents do: see `replies`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgpack

from antiphon.schemas.errors import MalformedError

Kind = Literal["stt", "tts", "llm"]
KINDS: Final[tuple[Kind, ...]] = ("stt", "tts", "llm")
VERSION: Final = 1
QUEUE: Final = "workers"
SERVICE: Final = "antiphon-worker"
MAX_PCM: Final = 30 * 16000 * 2
"""Bytes of an utterance; with its frame below the megabyte that NATS takes."""
PIECE: Final = 24000 * 2
"""Bytes of speech per message: a second."""
MAX_TEXT: Final = 2000
"""Characters of a clause."""
MAX_LANGUAGE: Final = 35
"""Characters of a language tag (RFC 5646, section 4.4.1)."""


def pack(*fields: Any) -> bytes:
    """The fields behind the version, as msgpack."""
    packed: bytes = msgpack.packb([VERSION, *fields], use_bin_type=True)
    return packed


def unpack(data: bytes, *shape: type) -> list[Any]:
    """The fields behind the version, checked against `shape`; `MalformedError` names the first that is wrong."""
    try:
        fields = msgpack.unpackb(data, raw=False, max_ext_len=0, max_map_len=0)
    except Exception as error:  # msgpack raises half a dozen types
        raise MalformedError(f"a worker's message is no msgpack: {error}") from None
    if type(fields) is not list or not fields or fields[0] != VERSION:
        raise MalformedError(f"a worker's message is not of version {VERSION}")
    found = fields[1:]
    for number, (value, expected) in enumerate(zip(found, shape, strict=False)):
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise MalformedError(f"field {number + 1} of a worker's message is no {expected.__name__}")
    if len(found) < len(shape):
        raise MalformedError(f"a worker's message has {len(found)} fields, expected {len(shape)}")
    return list(found)
