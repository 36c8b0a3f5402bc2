"""What an endpoint knows of clients whose sessions have moved away. Pure."""

from __future__ import annotations

import pytest

from antiphon.schemas import backbone
from antiphon.schemas.addresses import Address
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto
from antiphon.transceiver.net.endpoint import MAX_HEADERS, Endpoint, Moved, TransceiverIdentity

pytestmark = pytest.mark.pure

TO = TransceiverIdentity(0, 2, 5)


def header(ingress: int) -> bytes:
    return backbone.pack_header(Address("2001:db8::1", 5000), backbone.Route(ingress, 1, 4, 0))


def test_the_place_that_a_session_has_left_names_its_client_and_is_read_by_every_process() -> None:
    key = "0.1.4.rtc_1"
    for headers in ((), (header(7),), (header(7), header(8))):
        moved = Moved(key, TO, ("ufragA", "ufragB"), headers)
        sealed = CheckpointCrypto(bytes(32), "a" * 16).seal_moved(moved)
        assert CheckpointCrypto(bytes(32), "b" * 16).open_moved(key, sealed) == moved


def test_as_many_addresses_of_a_client_are_known_as_a_session_keeps_and_none_when_it_is_gone() -> None:
    endpoint = Endpoint(TransceiverIdentity(0, 1, 4), "127.0.0.1:1", None)  # type: ignore[arg-type]
    first, second = (Moved(f"0.1.4.rtc_{number}", TO, (f"u{number}",), (header(number),)) for number in (1, 2))
    endpoint.set_moved([first, second])
    for ingress in range(100, 120):
        endpoint.learn_moved_client(header(ingress), first)
    known = [ingress for ingress in range(200) if endpoint.moved_client(header(ingress)) is first]
    assert known == list(range(120 - MAX_HEADERS, 120))
    assert endpoint.moved_client(header(2)) is second, "the other client's are untouched"
    endpoint.learn_moved_client(header(112), first)  # used again: it is the newest
    endpoint.learn_moved_client(header(120), first)
    assert endpoint.moved_client(header(112)) is first
    endpoint.set_moved([first, second])  # a later reading of the bucket
    assert endpoint.moved_client(header(120)) is first
    endpoint.forget_moved(first)
    assert [ingress for ingress in range(200) if endpoint.moved_client(header(ingress))] == [2]
    endpoint.set_moved([])
    assert endpoint.moved_client(header(2)) is None
