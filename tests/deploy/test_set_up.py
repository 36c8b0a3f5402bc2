"""`deploy/set-up.sh`: which Python it takes, what it makes anew, and what it says when it can't go on.

The virtual environments are real. The Pythons on the PATH say that they have other versions than they have, because
this machine need not have them all. Where pip's words matter it is real, and so is its index, a directory; elsewhere
a script stands in for it, to save seconds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pip
import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
TOOLS = (
    "bash", "sh", "sed", "sha256sum", "cut", "cat", "rm", "mv", "tee", "grep", "mkdir", "dirname", "awk", "paste",
    "sort", "head", "tail", "id", "uname", "df", "mktemp", "ln", "env", "chmod",
)  # fmt: skip
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "antiphon"
version = "0"
"""
BACKEND = """\
import pathlib, zipfile
def build_editable(directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(directory, "antiphon-0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("antiphon.pth", str(pathlib.Path.cwd()) + "/schemas\\n")
        wheel.writestr("antiphon-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: antiphon\\nVersion: 0\\n")
        wheel.writestr("antiphon-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("antiphon-0.dist-info/RECORD", "")
    return "antiphon-0-py3-none-any.whl"
"""
PIP = """\
import pathlib, sys, sysconfig, time
if pathlib.Path("slow").exists():
    time.sleep(60)
if "-r" in sys.argv:
    version = pathlib.Path("requirements.lock").read_text().split()[0].partition("==")[2]
    pathlib.Path(sysconfig.get_path("purelib"), "thing.py").write_text(f"VERSION = {version!r}")
"""
PYTHON = """\
#!/bin/sh
case "$1 $2" in
"-c "*) exec {real} -c 'import sys; sys.version_info = ({two}, 4, "final", 0); sys._base_executable = "{base}"
exec(sys.argv[1])' "$2" ;;
"--version "*) echo "Python {version}.4" ;;
"-m venv")
    {real} -m venv --without-pip "$3" || exit 1
    ln -s {pip} "$(echo "$3"/lib/python*/site-packages)/pip"
    mv "$3/bin/python" "$3/bin/its-python"
    sed 's#exec {real}#exec "${{0%/*}}/its-python"#' {base} >"$3/bin/python"
    chmod +x "$3/bin/python" ;;
*)
exec {real} "$@" ;;
esac
"""


class Clone:
    """A clone with a lock of one small package, and a PATH with the Pythons that a test wants."""

    def __init__(self, directory: Path) -> None:
        self.path, self.bin, self.index = directory / "clone", directory / "bin", directory / "index"
        shutil.copytree(ROOT / "deploy", self.path / "deploy")
        (self.path / "pyproject.toml").write_text(PROJECT)
        (self.path / "backend.py").write_text(BACKEND)
        (directory / "pip").mkdir()
        (directory / "pip" / "__main__.py").write_text(PIP)
        self.pip = directory / "pip"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        self.lock("1")

    def python(self, version: str, name: str = "") -> None:
        """Put a Python of that version on the PATH."""
        path = self.bin / (name or f"python{version}")
        real, base = Path(sys._base_executable).resolve(), path  # type: ignore[attr-defined]
        two = version.replace(".", ", ")
        path.write_text(PYTHON.format(real=real, base=base, version=version, two=two, pip=self.pip))
        path.chmod(0o755)

    def lock(self, version: str, *, digest: str = "", requires_python: str = ">=3.8") -> None:
        """Pin a package `thing`; the index has it under that version."""
        folder = self.index / "thing"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"thing-{version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            wheel.writestr("thing.py", f"VERSION = {version!r}\n")
            about = f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\nRequires-Python: {requires_python}\n"
            wheel.writestr(f"thing-{version}.dist-info/METADATA", about)
            wheel.writestr(f"thing-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"thing-{version}.dist-info/RECORD", "")
        escaped = requires_python.replace("<", "&lt;").replace(">", "&gt;")
        (folder / "index.html").write_text(f'<a href="{name}" data-requires-python="{escaped}">{name}</a>')
        digest = digest or hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (self.path / "requirements.lock").write_text(f"thing=={version} \\\n    --hash=sha256:{digest}\n")

    def start(self, **variables: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": str(self.bin),
            "HOME": str(self.path),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_INDEX_URL": self.index.as_uri(),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        command = [str(self.path / "deploy" / "set-up.sh")]
        return subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A run in the background may ignore the signal, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def set_up(self, **variables: str) -> tuple[int, str]:
        """Exit status, and all that it says."""
        process = self.start(**variables)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def has(self) -> str:
        """The version of the package in .venv, and by it that the environment works."""
        command = [str(self.path / ".venv/bin/its-python"), "-c", "import thing; print(thing.VERSION)"]
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.fixture
def real_pip(clone: Clone) -> Clone:
    clone.pip = Path(pip.__file__).parent
    clone.python("3.12")
    return clone


def test_a_supported_python_is_taken_whatever_else_is_there_and_the_second_time_nothing_is_done(clone: Clone) -> None:
    for version, name in (("3.14", "python3"), ("3.10", "python3.10"), ("3.13", "python3.13")):
        clone.python(version, name)
    status, said = clone.set_up()
    assert status == 0, said
    assert f"Setting up: .venv with Python 3.13.4 ({clone.bin / 'python3.13'})" in said
    assert clone.has() == "1"
    assert clone.set_up() == (0, "")


def test_without_a_supported_python_the_range_and_what_was_found_are_named(clone: Clone) -> None:
    clone.python("3.14", "python3")
    clone.python("3.10")
    status, said = clone.set_up()
    assert status == 1
    assert said.startswith("Antiphon needs Python 3.11, 3.12 or 3.13. python3 is 3.14.4; python3.10 is 3.10.4\n")
    assert "make run PYTHON=" in said
    assert "index" not in said
    assert not (clone.path / ".venv").exists()


def test_the_packages_of_the_system_that_have_a_supported_python_are_named(clone: Clone) -> None:
    for tool, text in {"apt-get": "", "apt-cache": '[ $2 = python3.13-venv ] && echo "  Candidate: 3.13.5-2"'}.items():
        (clone.bin / tool).write_text(f"#!/bin/sh\n{text}\n")
        (clone.bin / tool).chmod(0o755)
    assert "No Python was found on the PATH.\n" in clone.set_up()[1]
    assert "apt-get update && apt-get install python3.13 python3.13-venv\n" in clone.set_up()[1]


def test_the_variable_python_decides_and_an_environment_of_another_version_makes_room(clone: Clone) -> None:
    for version in ("3.10", "3.11", "3.12"):
        clone.python(version)
    assert "Python 3.11.4" in clone.set_up()[1]
    status, said = clone.set_up(PYTHON="python3.12")
    assert status == 0, said
    assert "making .venv anew: its Python is 3.11, and PYTHON asks for 3.12\n" in said
    assert clone.set_up(PYTHON="python3.12") == clone.set_up() == (0, "")
    assert "PYTHON is python3.10: python3.10 is 3.10.4" in clone.set_up(PYTHON="python3.10")[1]
    assert "PYTHON is 'python4', and there is no such program" in clone.set_up(PYTHON="python4")[1]


@pytest.mark.parametrize("ill", ["unfinished", "no stamp", "interpreter gone", "interpreter changed", "moved"])
def test_an_environment_that_can_not_be_used_is_made_anew_and_the_reason_said(clone: Clone, ill: str) -> None:
    clone.python("3.12")
    assert clone.set_up()[0] == 0
    venv = clone.path / ".venv"
    (venv / "old").touch()
    reason = "its set-up was not finished"
    if ill == "unfinished":
        (venv / ".antiphon-set-up").write_text("unfinished\n")
    elif ill == "no stamp":
        (venv / ".antiphon-set-up").unlink()
    elif ill == "interpreter gone":
        (venv / "bin" / "python").unlink()
        reason = "its Python is gone"
    elif ill == "interpreter changed":
        python = venv / "bin" / "python"
        python.write_text(python.read_text().replace("(3, 12,", "(3, 14,"))
        reason = "it was made by Python 3.12, and its Python is 3.14 now"
    else:
        reason = f"it was made in {clone.path}"
        clone.path = clone.path.rename(clone.path.with_name("elsewhere"))
        venv = clone.path / ".venv"
    status, said = clone.set_up()
    assert status == 0, said
    assert f"Setting up: making .venv anew: {reason}\n" in said
    assert not (venv / "old").exists()
    assert clone.has() == "1"


def test_a_set_up_that_is_interrupted_leaves_nothing_that_is_taken_for_whole(clone: Clone) -> None:
    clone.python("3.12")
    slow = clone.path / "slow"
    slow.touch()
    process = clone.start()
    stamp = clone.path / ".venv" / ".antiphon-set-up"
    deadline = time.monotonic() + 50
    while not stamp.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    # As a user presses the keys again: a shell that has just forked a command may keep the first signal from it.
    while process.poll() is None and time.monotonic() < deadline:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    process.communicate(timeout=10)
    slow.unlink()
    status, said = clone.set_up()
    assert status == 0, said
    assert "making .venv anew: its set-up was not finished\n" in said
    assert clone.has() == "1"


def test_new_requirements_go_into_the_environment_that_is_there(clone: Clone) -> None:
    clone.python("3.12")
    assert clone.set_up()[0] == 0
    (clone.path / ".venv" / "kept").touch()
    clone.lock("2")
    status, said = clone.set_up()
    assert status == 0, said
    assert (clone.path / ".venv" / "kept").exists()
    assert clone.has() == "2"


def test_two_set_ups_at_the_same_time_are_one(clone: Clone) -> None:
    clone.python("3.12")
    processes = [clone.start(), clone.start()]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "".join(said).count("Setting up: .venv with") == 1
    assert clone.has() == "1"


def test_with_the_real_pip_a_clone_is_set_up(real_pip: Clone) -> None:
    status, said = real_pip.set_up()
    assert status == 0, said
    assert real_pip.has() == "1"
    assert real_pip.set_up() == (0, "")


def test_an_index_out_of_reach_is_not_called_an_index_without_the_package(real_pip: Clone) -> None:
    status, said = real_pip.set_up(PIP_INDEX_URL="http://127.0.0.1:1/simple", PIP_RETRIES="0")
    assert status == 1
    assert "Setting up failed: the package index can't be reached" in said
    assert "Connection refused" in said


def test_a_package_that_excludes_the_python_is_named(real_pip: Clone) -> None:
    real_pip.lock("3", requires_python="<3.8")
    status, said = real_pip.set_up()
    assert status == 1
    assert "Setting up failed: a pinned package excludes Python 3.12" in said
    assert "3 Requires-Python <3.8" in said


def test_a_file_other_than_the_pinned_one_is_named(real_pip: Clone) -> None:
    real_pip.lock("1", digest="0" * 64)
    status, said = real_pip.set_up()
    assert status == 1
    assert "Setting up failed: a file is not the pinned one: thing==1" in said


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "no space left."),
        ("The virtual environment was not created because ensurepip is not available.", "python3.12-venv"),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'", "Can "),
        ("ERROR: Failed building wheel for av", "a package has no wheel for Python 3.12"),
        ("Segmentation fault", "Segmentation fault"),
    ],
)
def test_the_cause_is_read_from_what_was_said(tmp_path: Path, words: str, cause: str) -> None:
    log = tmp_path / "log"
    log.write_text(textwrap.dedent(f"Collecting thing\n{words}\n"))
    done = subprocess.run(
        [str(ROOT / "deploy" / "why-pip-failed.sh"), str(log), "3.12"], text=True, capture_output=True, check=True
    )
    assert done.stdout.startswith("Setting up failed: ")
    assert cause in done.stdout
