"""Messages that NATS publishes because a client asked it to, and not their publisher. Pure.

The server checks no permission for the reply subject of a message. So a client can have it publish the answer to a put
or a read, the messages of a consumer, and what a service of ours answers, on any subject, also on that of a key.
`BusClient` asks here what to make of what it receives.
"""

from __future__ import annotations

import re
from typing import Final

ACKNOWLEDGED_AT: Final = b"$JS.ACK."
"""The reply of each message that a consumer sends begins so."""
OF_STORE: Final = b"Nats-Stream:"
"""In the headers of each answer to a read of a stream."""
ANSWERS: Final = (b'{"stream":"', b'{"type":"io.nats.')
"""How JetStream answers a put and each other request. No message of ours begins so."""
_STATUS: Final = b"NATS/1.0 "
"""Begins headers with a status, which servers send."""
_INBOX: Final = re.compile(rb"(?:_GR_\.[^.]+\.[^.]+\.)?_INBOX[._]|_R_\.")
"""Besides inboxes: what NATS makes of one between clusters (`_GR_`), and between accounts (`_R_`)."""
_PLACE: Final = re.compile(rb"^Nats-(?:Stream|Subject|Sequence|Time-Stamp):[^\r\n]*\r\n", re.MULTILINE)


def is_inbox(reply: bytes) -> bool:
    """Whether an answer may go there: only to inboxes, where clients wait for answers."""
    return _INBOX.match(reply) is not None


def is_forwarded(reply: bytes, data: bytes, headers: bytes | None) -> bool:
    """Whether a message on a subject that is no inbox comes from JetStream, or from the server itself."""
    return (
        reply.startswith(ACKNOWLEDGED_AT)
        or data.startswith(ANSWERS)
        or bool(headers and (headers.startswith(_STATUS) or OF_STORE in headers))
    )


def is_forged_value(reply: bytes, headers: bytes) -> bool:
    """Whether what a read or consumer of ours delivers was put there by NATS, as an answer to another client.

    Such a value is stored with the headers of that answer. A read adds its own to them, a consumer adds none.
    """
    count = headers.count(OF_STORE)
    return count > 1 or (count == 1 and reply.startswith(ACKNOWLEDGED_AT))


def headers_of_read(reply: bytes, headers: bytes) -> bytes:
    """Without all that was stored: a mark of deletion, and the headers of the answer that was forwarded.

    NATS writes those of the read behind them. Empty where a consumer delivers, which has none.
    """
    if reply.startswith(ACKNOWLEDGED_AT):
        return b""
    place = {line.partition(b":")[0]: line for line in _PLACE.findall(headers)}
    return b"NATS/1.0\r\n" + b"".join(place.values()) + b"\r\n"


def key_of_read(headers: bytes) -> bytes | None:
    """The subject that was read, in headers that `headers_of_read` returned; None where there are none."""
    found = re.search(rb"^Nats-Subject:\s*([^\r\n]*)", headers, re.MULTILINE)
    return found[1] if found is not None else None
