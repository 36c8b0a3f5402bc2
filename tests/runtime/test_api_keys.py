"""API keys and their file, as values."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import pytest

from antiphon.runtime.api_keys import (
    WEAK_BITS,
    KeyFileError,
    KeyTable,
    entropy_bits,
    is_document,
    keys_of_list,
    read_document,
)

pytestmark = pytest.mark.pure


def key(number: int = 1, **fields: Any) -> dict[str, Any]:
    digest = hashlib.sha256(f"text-{number}".encode()).hexdigest()
    return {"id": f"key_{number}", "hash": f"sha256:{digest}", "scopes": ["calls"], **fields}


def written(*keys: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"version": 1, "keys": keys, **fields}).encode()


def test_a_key_is_found_by_its_text_until_it_expires() -> None:
    table = KeyTable(read_document(written(key(1), key(2, expires="1970-01-01T00:01:40Z"))))
    found = table.find("text-2", now=99.0)
    assert found is not None
    assert found.id == "key_2"
    assert table.find("text-2", now=100.0) is None
    assert table.by_id("key_2", now=100.0) is None
    assert table.find("text-1", now=1e12) is not None
    assert table.find("text-3", now=0.0) is None
    assert table.find("\udcff", now=0.0) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        written(key())[:-2],
        written(key(expire="2027-01-01T00:00:00Z")),
        written(key(expires="2027-01-01T00:00:00")),
        written(key(scopes=[])),
        written(key(scopes=["everything"])),
        written(key(hash="sha256:AB")),
        written(key(hash="md5:" + "0" * 64)),
        written(key(id="a b")),
        written(key(limits={"calls_per_minute": -1})),
        written(key(limits={"calls": 1})),
        written(key(1), key(1)),
        written(key(1), key(1, id="another")),
        written(key(), version=2),
        b'{"version": 1}',
        b'{"version": 1, "keys": ' + b"[" * 10_000,
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_wrong_anywhere_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(KeyFileError) as refused:
        read_document(data)
    assert "text-1" not in str(refused.value)


def test_a_plain_list_is_told_from_a_document() -> None:
    assert is_document(b' \n{"version": 1}')
    assert not is_document(b"sk-1\nsk-2")
    assert not is_document(b"")


def test_a_listed_key_has_all_scopes_and_the_same_id_everywhere() -> None:
    (one,), (same,), (other,) = keys_of_list(["sk-1"]), keys_of_list(["sk-1"]), keys_of_list(["sk-2"])
    assert one == same
    assert one.id != other.id
    assert one.scopes == {"calls", "calls.manage", "secrets", "operator", "listen"}


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "hunter2hunter2hunter2hunter2hunter2hunter2",
        "correct-horse-battery-staple",
        "my-shop-production-key-2026",
        "0123456789abcdef0123456789abcdef",
        "password" * 10,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "sk-antiphon-",
        "",
    ],
)
def test_what_people_choose_is_weak(text: str) -> None:
    assert entropy_bits(text) < WEAK_BITS


def test_random_keys_are_not_weak() -> None:
    for _ in range(200):
        assert entropy_bits(f"sk-antiphon-{secrets.token_urlsafe(32)}") > WEAK_BITS
        assert entropy_bits(secrets.token_hex(32)) > WEAK_BITS
