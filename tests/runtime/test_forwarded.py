"""What counts as an inbox, as a message that NATS publishes for another client, and as a value that it stored so."""

from __future__ import annotations

import pytest

from antiphon.runtime.nats.forwarded import (
    headers_of_read,
    is_forged_value,
    is_forwarded,
    is_inbox,
    key_of_read,
)

pytestmark = pytest.mark.pure

FORGED = (
    b"NATS/1.0\r\nKV-Operation: DEL\r\nNats-Stream: KV_antiphon-leases\r\nNats-Subject: $KV.antiphon-leases.echo.x\r\n"
    b"Nats-Sequence: 1\r\nNats-Time-Stamp: 2026\r\nNats-Stream: KV_antiphon-slots\r\n"
    b"Nats-Subject: $KV.antiphon-slots.0.1\r\nNats-Sequence: 7\r\nNats-Time-Stamp: 2027\r\n\r\n"
)
READ = (
    b"NATS/1.0\r\nNats-Stream: KV_antiphon-slots\r\nNats-Subject: $KV.antiphon-slots.0.1\r\nNats-Sequence: 7\r\n"
    b"Nats-Time-Stamp: 2027\r\n\r\n"
)


@pytest.mark.parametrize(
    "reply", [b"_INBOX.a.b", b"_INBOX_relay.a", b"_INBOX_agent.echo.a.b", b"_R_.a", b"_GR_.ab.cd._INBOX_relay.a"]
)
def test_answers_go_to_inboxes_also_between_clusters_and_accounts(reply: bytes) -> None:
    assert is_inbox(reply)


@pytest.mark.parametrize(
    "reply",
    [
        b"$KV.antiphon-slots.0.1",
        b"_INBOX",
        b"_INBOXES.a",
        b"x._INBOX.a",
        b"_GR_.ab.cd.$KV.antiphon-slots.0.1",
        b"_GR_._INBOX.a",
        b"$JS.ACK.a",
        b"_inbox.a",
        b" _INBOX.a",
    ],
)
def test_and_nowhere_else(reply: bytes) -> None:
    assert not is_inbox(reply)


@pytest.mark.parametrize(
    ("reply", "data", "headers"),
    [
        (b"$JS.ACK.s.c.1.1.1.1.0", b"frame", None),
        (b"", b'{"stream":"KV_antiphon-leases","seq":2}', None),
        (b"", b'{"type":"io.nats.jetstream.api.v1.consumer_create_response"}', None),
        (b"", b"", b"NATS/1.0 404 Message Not Found\r\n\r\n"),
        (b"", b"frame", READ),
    ],
)
def test_what_jetstream_publishes_is_known(reply: bytes, data: bytes, headers: bytes | None) -> None:
    assert is_forwarded(reply, data, headers)


def test_messages_with_a_trace_are_none_of_that() -> None:
    assert not is_forwarded(b"_INBOX_agent.echo.a", b'{"version":1}', b"NATS/1.0\r\ntraceparent: 00-1-2-01\r\n\r\n")


def test_of_a_forged_value_only_the_place_is_left() -> None:
    assert is_forged_value(b"", FORGED)
    assert headers_of_read(b"", FORGED) == READ
    assert key_of_read(READ) == b"$KV.antiphon-slots.0.1"
    assert is_forged_value(b"$JS.ACK.s.c.1.1.1.1.0", READ)
    assert headers_of_read(b"$JS.ACK.s.c.1.1.1.1.0", READ) == b""
    assert key_of_read(b"") is None


def test_a_value_that_its_owner_wrote_is_not_forged() -> None:
    assert not is_forged_value(b"", READ)
    assert not is_forged_value(b"$JS.ACK.s.c.1.1.1.1.0", b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n")
