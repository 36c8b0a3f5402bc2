"""The file of API keys, read again when it changes."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import pytest

from antiphon.runtime.api_keys import digest_of
from antiphon.signaling.auth.key_ring import KeyRing

pytestmark = pytest.mark.pure


def document(*texts: str) -> str:
    keys = [{"id": f"key_{text}", "hash": f"sha256:{digest_of(text).hex()}", "scopes": ["calls"]} for text in texts]
    return json.dumps({"version": 1, "keys": keys})


def holds(ring: KeyRing, text: str) -> bool:
    return ring.table.find(text, time.time()) is not None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(document("aa"))
    return path


def test_a_key_counts_from_the_next_look_on_and_not_after_its_removal(path: Path) -> None:
    ring = KeyRing(["of-the-settings"], path)
    (aa,) = (key for key in ring.table.keys if key.id == "key_aa")
    path.write_text(document("aa", "bb"))
    ring.look(1.0)
    assert holds(ring, "bb")
    assert ring.still_holds(aa)
    path.write_text(document("bb"))
    ring.look(2.0)
    assert not holds(ring, "aa")
    assert not ring.still_holds(aa)
    assert holds(ring, "of-the-settings")


def test_a_change_of_the_same_size_and_time_is_seen(path: Path) -> None:
    ring = KeyRing([], path)
    before = path.stat()
    path.write_text(document("bb"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ring.look(1.0)
    assert holds(ring, "bb")
    path.write_text(document("cc"))
    ring.look(1.1)
    assert holds(ring, "cc")


@pytest.mark.parametrize("broken", ["", "{", document("bb")[:-1], "sk-plain-list", "\x00", '{"version": 1, "keys": 3}'])
def test_a_broken_file_keeps_the_keys_and_is_named_once(
    path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing([], path)
    path.write_text(broken)
    with caplog.at_level(logging.ERROR):
        for look in range(10):
            ring.look(look)
    assert holds(ring, "aa")
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]
    path.write_text(document("bb"))
    ring.look(20.0)
    assert holds(ring, "bb")
    assert not holds(ring, "aa")


def test_a_file_that_is_gone_keeps_the_keys_and_is_read_when_it_is_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing([], path)
    path.unlink()
    for look in range(5):
        ring.look(look)
    os.mkfifo(path)
    for look in range(5, 10):
        ring.look(look)
    assert holds(ring, "aa")
    assert len(caplog.records) == 1
    path.unlink()
    path.write_text(document("bb"))
    ring.look(10.0)
    assert holds(ring, "bb")


def test_without_its_last_key_the_service_is_closed_and_not_open(path: Path) -> None:
    ring = KeyRing([], path)
    path.write_text(document())
    ring.look(1.0)
    assert not holds(ring, "aa")
    assert not ring.open
    assert KeyRing([]).open


def test_a_plain_list_is_taken_at_start_and_only_then(path: Path) -> None:
    path.write_text("sk-one\nsk-two, sk-three\n")
    ring = KeyRing([], path)
    assert ring.listed_in_file
    assert all(holds(ring, text) for text in ("sk-one", "sk-two", "sk-three"))
    path.write_text("sk-on")  # half of it
    ring.look(1.0)
    assert holds(ring, "sk-two")
    assert not holds(ring, "sk-on")
    path.write_text(document("aa"))
    ring.look(2.0)
    assert holds(ring, "aa")
    assert not holds(ring, "sk-one")


@pytest.mark.parametrize("content", [None, b"", b"\n ,\n", b"\xff\xfe\xfa", b'{"version": 7}'])
def test_no_usable_file_at_start_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="ANTIPHON_API_KEYS_FILE") as refused:
        KeyRing([], path)
    assert str(path) in str(refused.value)
