"""What counts as a request: h11's parser, and in front of it refusals of what two readers could read differently.

Between a proxy and this server a request of which each sees another end lets one client write the beginning of the next
client's request (request smuggling, RFC 9112 section 11.2). So whatever is ambiguous is refused and the connection
closed, also where the RFC leaves the choice: two lengths, a length that is repeated, a folded line, a line that ends
without CR.
"""

from __future__ import annotations

import re
from typing import Final

import h11

MAX_HEAD: Final = 32 * 1024
"""Octets of a head, and of the framing of a chunk. An `ek_` secret with all its settings has 11 KiB."""
MAX_FIELDS: Final = 100
FREE_FRAMING: Final = 16 * 1024
FRAMING_PER_OCTET: Final = 8
"""Lengths, line ends and extensions of chunks: an honest body in chunks of one octet has 5 octets of them for each."""
MAX_REQUEST_OCTETS: Final = 5 * 1024 * 1024
"""Of a request with all its framing: what is read of a body to be thrown away (4 MiB), and chunk extensions with it."""
_END: Final = re.compile(rb"\n\r?\n")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class RequestConnection(h11.Connection):
    """h11's side of one connection, with the checks in front. Made and owned by the connection's protocol."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._received = self._data = 0
        """Octets behind the head of this request, and those of its body among them."""

    def receive_data(self, data: bytes) -> None:
        """As h11's."""
        self._received += len(data)
        super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; `h11.RemoteProtocolError` also for what is refused here."""
        if self.their_state is h11.IDLE:
            head = head_of(self.trailing_data[0])
            if head is not None:
                check_lines(head)
        event = super().next_event()
        if isinstance(event, h11.Request):
            check_request(event)
            self._received, self._data = len(self.trailing_data[0]), 0
        elif isinstance(event, h11.Data):
            self._data += len(event.data)
            framing = self._received - self._data - len(self.trailing_data[0])
            if framing > FREE_FRAMING + FRAMING_PER_OCTET * self._data:
                raise h11.RemoteProtocolError("the chunks hold more framing than body")
        return event


def head_of(received: bytes) -> bytes | None:
    """The head at the beginning, with its last line's end; None while it is not complete."""
    end = _END.search(received)
    return received[: end.start() + 1] if end else None


def check_lines(head: bytes) -> None:
    """Raise for what h11 mends and so does not show, and for what it takes in one piece above its bound."""
    if len(head) > MAX_HEAD:
        raise h11.RemoteProtocolError(f"the head has more than {MAX_HEAD} octets", error_status_hint=431)
    if _BARE_LF.search(head) or b"\r" in head.replace(b"\r\n", b""):
        raise h11.RemoteProtocolError("a line of the head does not end in CR LF")
    lines = head.split(b"\r\n")
    if len(lines) - 2 > MAX_FIELDS:
        raise h11.RemoteProtocolError(f"the head has more than {MAX_FIELDS} fields", error_status_hint=431)
    lengths = 0
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            raise h11.RemoteProtocolError("a field of the head is folded over several lines")
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            lengths += 1
            if lengths > 1 or not value.strip(b" \t").isdigit():
                raise h11.RemoteProtocolError("Content-Length is not one number")


def check_request(request: h11.Request) -> None:
    """Raise for a request whose fields contradict one another."""
    names = {name for name, _ in request.headers}
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("HTTP/1.0 and HTTP/1.1 are served", error_status_hint=505)
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding can't be together")
        if request.http_version == b"1.0":
            raise h11.RemoteProtocolError("HTTP/1.0 has no Transfer-Encoding")
    if b"upgrade" in names and (b"transfer-encoding" in names or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("a request to upgrade is of HTTP/1.1 and has no body")
    if b"upgrade" in names and any(name == b"content-length" and int(value) for name, value in request.headers):
        raise h11.RemoteProtocolError("a request to upgrade has no body")
    if not request.target.startswith(b"/") and request.target != b"*":
        raise h11.RemoteProtocolError("the target of a request is a path")
