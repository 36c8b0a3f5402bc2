"""`make compose-test`: the stack in containers, from nothing, one spoken conversation, and down again.

Not part of pytest, because it needs a Docker engine. It uses the engine that `docker` is set up for, takes
a project name of its own, and takes down what it brought up, also when it fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

PROJECT: Final = "antiphon-compose-test"
QUESTION: Final = "What time is it?"
UP_WITHIN: Final = 300
"""Seconds until every container is healthy; loading the models takes a minute on a slow machine."""
DOWN_WITHIN: Final = 20.0


class Failure(Exception):
    """What went wrong, for the person who reads it."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        environment = _environment()
        with _stack_up(environment):
            _converse()
        print("compose-test: passed")
    except Failure as failure:
        print(f"compose-test: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _environment() -> dict[str, str]:
    """The environment for docker; Failure when there is no engine to use."""
    if shutil.which("docker") is None:
        raise Failure("there is no docker command: install Docker with its compose plug-in")
    if _succeeds("docker", "compose", "version"):
        engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
        if engine.returncode:
            reason = (engine.stderr or engine.stdout).strip().splitlines()[-1]
            raise Failure(f"no Docker engine answers ({reason}): start one, or point DOCKER_HOST at one that runs")
    else:
        raise Failure("docker has no compose: install its compose plug-in (`docker compose version` must work)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "OTEL_"))}
    if not _succeeds("docker", "buildx", "version"):
        environment["DOCKER_BUILDKIT"] = "0"  # without buildx, compose builds with the engine's own builder
    return environment


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _compose(environment: dict[str, str], *arguments: str) -> None:
    command = ["docker", "compose", "--project-name", PROJECT, *arguments]
    print(f"compose-test: {' '.join(command)}", flush=True)
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise Failure(f"`{' '.join(command)}` failed: see its lines above")


@contextlib.contextmanager
def _stack_up(environment: dict[str, str]) -> Iterator[None]:
    down = ("down", "--volumes", "--remove-orphans")
    _compose(environment, *down)
    _compose(environment, "build")
    try:
        _compose(environment, "up", "--detach", "--wait", "--wait-timeout", str(UP_WITHIN))
        yield
    except Failure:
        _compose(environment, "ps", "--all")
        _compose(environment, "logs", "--tail", "40")
        raise
    finally:
        begun = time.monotonic()
        _compose(environment, *down)
        lasted = time.monotonic() - begun
    if lasted > DOWN_WITHIN:
        raise Failure(f"`docker compose down` took {lasted:.0f} s: a container does not end when it is asked to")


def _converse() -> None:
    """Ask through the published ports, and compare the words that come back, by ear and by transcript."""
    from support.models.voice import say, transcribe, words

    from antiphon.cli.call.wav import read_wav, write_wav

    with tempfile.TemporaryDirectory() as scratch:
        question, answer = Path(scratch, "question.wav"), Path(scratch, "answer.wav")
        write_wav(question, say(QUESTION), 24000)
        doctor = subprocess.run([sys.executable, "-m", "antiphon.cli", "doctor", "--nats", "none"], check=False)
        if doctor.returncode:
            raise Failure("antiphon doctor has found something: see its lines above")
        call = [sys.executable, "-m", "antiphon.cli", "call", "--wav", str(question), "--out", str(answer), "--json"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=False)
        print(done.stdout, done.stderr, sep="", flush=True)
        if done.returncode:
            raise Failure(f"antiphon call ended with status {done.returncode}")
        result = json.loads(done.stdout)
        if "time" not in words(result["heard"]):
            raise Failure(f"the question {QUESTION!r} was understood as {result['heard']!r}")
        heard = transcribe(read_wav(answer, 24000))
        said = words(result["answered"])
        if not said or not set(said) & set(words(heard)):
            raise Failure(f"the answer {result['answered']!r} sounds like {heard!r}")


if __name__ == "__main__":
    sys.exit(main())
