"""A `FrameReader` takes the messages that have a handler, and passes all other octets on, however they come."""

from __future__ import annotations

import asyncio
import random

import pytest

from antiphon.runtime.nats.frame_reader import MAX_LINE, MAX_READ, FrameReader

pytestmark = pytest.mark.pure


class Inner(asyncio.Protocol):
    """What stands behind it."""

    def __init__(self) -> None:
        self.octets = b""

    def data_received(self, data: bytes) -> None:
        self.octets += data


class Reading:
    """A reader with a handler for the subscription 7, and what came to either."""

    def __init__(self) -> None:
        self.inner = Inner()
        self.read: list[tuple[bytes, bytes]] = []
        self.calls = 0
        self._reader = FrameReader(self.inner, {b"7": lambda of, data: self.read.append((of, data))}, self._received)

    def _received(self) -> None:
        self.calls += 1

    def feed(self, data: bytes) -> None:
        """One read of the socket."""
        while data:
            room = self._reader.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self._reader.buffer_updated(count)
            data = data[count:]


def message(number: int, payload: bytes, reply: bytes = b"") -> bytes:
    return b"MSG a.out %d %b%d\r\n%b\r\n" % (number, reply and reply + b" ", len(payload), payload)


def lines(chance: random.Random, count: int) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """(a stream, what the handler is to get, what is to go on)."""
    stream, others = b"", b""
    ours: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        # Payloads that look like lines must not be taken for some.
        payload = chance.randbytes(chance.choice((0, 1, 40, 990))) + chance.choice((b"", b"\r\nMSG a.out 7 1\r\nx\r\n"))
        match chance.randrange(10):
            case 0:
                piece = chance.choice((b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Permissions Violation'\r\n"))
            case 1:
                piece = b'INFO {"server_id":"x"}\r\n'
            case 2:
                piece = message(8, payload)
            case 3:
                piece = message(7, payload, b"_INBOX.x")
            case 4:
                head = b"NATS/1.0\r\n\r\n"
                piece = b"HMSG a.out 7 %d %d\r\n%b%b\r\n" % (len(head), len(head) + len(payload), head, payload)
            case 5:
                piece = message(7, b'{"stream":"x"}' + payload)
            case 6:
                piece = message(7, bytes(MAX_READ + 1))
            case _:
                stream += message(7, payload)
                ours.append((b"a.out", payload))
                continue
        stream += piece
        others += piece
    return stream, ours, others


@pytest.mark.parametrize("seed", range(6))
def test_ours_are_read_in_order_and_the_rest_goes_on_unchanged_wherever_reads_end(seed: int) -> None:
    chance = random.Random(seed)
    stream, ours, others = lines(chance, 120)
    reading, at = Reading(), 0
    while at < len(stream):
        size = chance.choice((1, 2, 7, 900, 3000, 70_000, 400_000))
        reading.feed(stream[at : at + size])
        at += size
    assert reading.read == ours
    assert reading.inner.octets == others
    assert reading.calls


@pytest.mark.parametrize(
    "strange",
    [b"msg a.out 7 1\r\n", b"MSG a.out 7 -1\r\n", b"MSG\r\n", b"MSG \r\n", b"HMSG a 7 x\r\n", b"\r\n", b"x\r\n"],
)
def test_all_goes_on_from_what_is_not_understood(strange: bytes) -> None:
    reading = Reading()
    reading.feed(message(7, b"before") + strange)
    reading.feed(message(7, b"behind"))
    assert reading.read == [(b"a.out", b"before")]
    assert reading.inner.octets == strange + message(7, b"behind")


def test_a_line_without_an_end_does_not_wait_here() -> None:
    reading = Reading()
    reading.feed(b"INFO " + b"x" * MAX_LINE)
    reading.feed(b"x\r\n" + message(7, b"behind"))
    assert reading.inner.octets == b"INFO " + b"x" * (MAX_LINE + 1) + b"\r\n" + message(7, b"behind")


def test_a_handler_that_fails_costs_its_message_only(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[bytes] = []

    def handle(subject: bytes, data: bytes) -> None:
        heard.append(data)
        if data == b"bad":
            raise ValueError("no")

    reader, stream = FrameReader(Inner(), {b"7": handle}, lambda: None), message(7, b"bad") + message(7, b"good")
    reader.get_buffer(-1)[: len(stream)] = stream
    reader.buffer_updated(len(stream))
    assert heard == [b"bad", b"good"]
    assert "could not be handled" in caplog.text
