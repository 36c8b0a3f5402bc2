"""`antiphon api-keys`: the file that it writes, and what it refuses."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from antiphon.cli.main import main
from antiphon.runtime.api_keys import KeyTable, read_document

pytestmark = pytest.mark.pure


def table(path: Path) -> KeyTable:
    return KeyTable(read_document(path.read_bytes()))


def test_an_added_key_is_shown_once_stored_as_a_hash_and_revoked_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "keys.json"
    file = ["--file", str(path)]
    assert main(["api-keys", "add", *file, "--name", "shop", "--scope", "secrets", "--days", "2"]) == 0
    text = capsys.readouterr().out.strip()
    assert main(["api-keys", "add", *file, "--calls-per-minute", "7", "--expires", "2099-01-01T00:00:00Z"]) == 0
    other = capsys.readouterr().out.strip()
    assert text not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    found = table(path).find(text, time.time())
    assert found is not None
    assert (found.name, sorted(found.scopes)) == ("shop", ["secrets"])
    assert table(path).find(text, time.time() + 2 * 86400 + 1) is None
    second = table(path).find(other, time.time())
    assert second is not None
    assert (sorted(second.scopes), second.limits.calls_per_minute) == (["calls", "secrets"], 7)
    assert main(["api-keys", "list", *file]) == 0
    shown = capsys.readouterr().out
    assert found.id in shown
    assert "shop" in shown
    assert text not in shown
    path.chmod(0o640)
    assert main(["api-keys", "revoke", *file, found.id]) == 0
    assert table(path).find(text, time.time()) is None
    assert table(path).find(other, time.time()) is not None
    assert path.stat().st_mode & 0o777 == 0o640, "the file keeps its mode"
    assert main(["api-keys", "revoke", *file, found.id]) == 2


@pytest.mark.parametrize(
    "text", ["hunter2", "correct-horse-battery-staple", "a" * 100, "two words", "a,b", "", "ü" * 40]
)
def test_a_key_that_may_be_guessed_is_refused(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
    assert main(["api-keys", "add", "--file", str(path), "--stdin"]) == 2
    assert not path.exists()
    assert not text or text not in capsys.readouterr().err


def test_a_key_that_is_in_use_can_be_taken_over_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    text = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    for status in (0, 2):
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
        assert main(["api-keys", "add", "--file", str(path), "--stdin"]) == status
    assert table(path).find(text, time.time()) is not None
    assert len(table(path)) == 1


@pytest.mark.parametrize(
    "options",
    [["--days", "-1"], ["--days", "1e12"], ["--days", "nan"], ["--expires", "soon"], ["--expires", "2099-01-01T00:00"]],
)
def test_an_end_that_makes_no_sense_makes_no_key(tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "keys.json"
    assert main(["api-keys", "add", "--file", str(path), *options]) == 2
    assert not path.exists()


def test_a_plain_list_and_a_broken_file_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys"
    for content in ("sk-plain-key\n", '{"version": 1, "keys": ['):
        path.write_text(content)
        for action in (["add"], ["list"], ["revoke", "key_1"]):
            assert main(["api-keys", *action, "--file", str(path)]) == 2
        assert path.read_text() == content
    assert "sk-plain-key" not in capsys.readouterr().err


def test_of_writers_at_the_same_time_none_undoes_what_another_wrote(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: main(["api-keys", "add", "--file", str(path)]), range(16)))
    assert done == [0] * 16
    assert len(json.loads(path.read_text())["keys"]) == 16
