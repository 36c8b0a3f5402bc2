"""The page in headless Firefox: the connection, and audio both ways.

Firefox pairs no loopback address with another one, so the stack runs where a laptop has a second interface.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.net.namespace import ADDRESS, laptop_namespace
from support.processes.more_relays import PREFERRED_REGION, another_relay
from support.processes.stack import ECHO_AGENT, Stack, running_stack

pytestmark = [pytest.mark.realtime, pytest.mark.models]


@pytest.fixture(scope="module")
def inside() -> Iterator[list[str]]:
    with laptop_namespace() as command:
        yield command


@pytest.fixture(scope="module")
def stack(inside: list[str]) -> Iterator[Stack]:
    environment = {"ANTIPHON_REGION": PREFERRED_REGION, "ANTIPHON_RELAY_REGION": "local"}
    with running_stack("--plugin", str(ECHO_AGENT), within=inside, environment=environment) as running:
        yield running


@contextmanager
def calling(inside: list[str], url: str) -> Iterator[subprocess.Popen[str]]:
    """Firefox in a call that has begun."""
    with subprocess.Popen(
        [*inside, sys.executable, "-m", "support.browsers.firefox", url, "--until-moved"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
    ) as browser:
        assert browser.stdout is not None
        assert browser.stdout.readline() == "connected\n"
        yield browser


def moved(browser: subprocess.Popen[str]) -> dict[str, Any]:
    """What the page says after its call has gone another way."""
    assert browser.stdout is not None
    told = browser.stdout.readline()
    assert browser.wait(30) == 0
    result: dict[str, Any] = json.loads(told)
    return result


def test_firefox_connects_and_gets_its_own_audio_back(stack: Stack, inside: list[str]) -> None:
    done = subprocess.run(
        [*inside, sys.executable, "-m", "support.browsers.firefox", stack.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["problem"] is None
    # The echo agent sends only what it got from this caller, so these came all the way round.
    assert result["packets_received"] > 50


@pytest.mark.nightly
def test_a_call_of_firefox_whose_udp_dies_goes_on_over_tcp(stack: Stack, inside: list[str]) -> None:
    port = str(stack.relay().port)
    blocked = [["-A", "INPUT", "-p", "udp", end, port, "-j", "DROP"] for end in ("--dport", "--sport")]
    with calling(inside, stack.url) as browser:
        for rule in blocked:
            subprocess.run([*inside, "iptables", *rule], check=True, capture_output=True)
        try:
            result = moved(browser)
        finally:
            for rule in blocked:
                subprocess.run([*inside, "iptables", "-D", *rule[1:]], check=True, capture_output=True)
    print(f"Firefox, UDP dies: {result['moves']}")
    assert result["problem"] is None
    assert result["moves"][-1]["gap_ms"] < 8000


@pytest.mark.nightly
def test_when_the_used_relay_is_killed_firefox_moves_to_the_other(
    stack: Stack, inside: list[str], tmp_path: Path
) -> None:
    url = f"{stack.url}?region={PREFERRED_REGION}"  # else both relays are raced
    with (
        another_relay(stack, tmp_path, PREFERRED_REGION, f"{ADDRESS}:0", inside) as relay,
        calling(inside, url) as browser,
    ):
        relay.kill()
        result = moved(browser)
    print(f"Firefox, killed relay: {result['moves']}")
    assert len(result["moves"]) == 1
    assert result["moves"][0]["gap_ms"] < 2500
