"""`antiphon up` as a user meets it: the real stack, its processes killed from outside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.conditions import wait_until
from support.processes.up_process import descendants, is_alive, up_process, wait_until_gone
from support.tls import pair

pytestmark = pytest.mark.process


def _up(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `antiphon up` where it is expected to refuse."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "up", *options],
        env={**own, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:  # an HTTPError is one
        return False


@pytest.mark.models
def test_the_stack_starts_mends_itself_and_ends_without_a_trace(tmp_path: Path) -> None:
    with up_process(tmp_path) as running:
        url = running.wait_until_ready()
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as reply:
            assert reply.status == 200
        assert len(list(tmp_path.iterdir())) == 1

        for part in ("transceiver", "nats"):
            said = len(running.lines)
            os.kill(running.pid_of(part), signal.SIGKILL)
            if part == "nats":
                shutil.rmtree(next(tmp_path.glob("antiphon-up-*/jetstream")))
            running.wait_for(rf"{part} has died \(killed by SIGKILL\); it is started again in [\d.]+ s", after=said)
            running.wait_for(rf"^{part} +\| started", after=said)
            wait_until(lambda: _is_healthy(url), 60)
            # A part that is back before its announcement has run out is not missed by a call.
            if any("Calls would fail now" in line for line in running.lines[said:]):
                running.wait_for("Calls succeed again", after=said)
        running.wait_for(r"^setup +\| \S+ bucket antiphon-leases made", after=said)

        assert running.end(signal.SIGINT) < 3
        assert running.process.returncode == 0
        assert not descendants(tmp_path)
        assert not list(tmp_path.iterdir())
        assert running.text().count("Antiphon is ready") == 1
        assert "Traceback" not in running.text()


@pytest.mark.models
def test_it_ends_in_time_when_a_part_has_just_died(tmp_path: Path) -> None:
    with up_process(tmp_path) as running:
        running.wait_for(r"^inference-bridge +\| started")
        os.kill(running.pid_of("nats"), signal.SIGKILL)
        os.kill(running.pid_of("relay"), signal.SIGKILL)
        assert running.end(signal.SIGTERM) < 3
        assert running.process.returncode == 0
        assert not descendants(tmp_path)
        assert not list(tmp_path.iterdir())


@pytest.mark.models
def test_nothing_runs_on_when_the_supervisor_is_killed_outright(tmp_path: Path) -> None:
    with up_process(tmp_path) as running:
        running.wait_for(r"^inference-bridge +\| started")
        running.wait_for(r"^relay +\| .*forwards")  # its workers have started
        assert len(running.pids()) == 6
        pids = descendants(tmp_path)
        running.end(signal.SIGKILL)
        wait_until_gone(pids, within=3)
        left = next(tmp_path.iterdir())
    os.utime(left, (0, 0))  # as if it had been there for a while
    with up_process(tmp_path) as running:
        running.wait_for(r"^nats +\| serves")
        assert not left.exists()


def environment_of(pid: int) -> str:
    """Of a process that was just started: the kernel shows it a moment after the program has begun."""
    wait_until(lambda: Path(f"/proc/{pid}/environ").read_text())
    return Path(f"/proc/{pid}/environ").read_text()


SECRET = re.compile(r"(\w*(?:KEY|TOKEN|SECRET|CREDENTIALS)\w*)=([^\0]*)")


@pytest.mark.models
def test_each_part_has_its_own_keys_only_and_those_of_this_stack_are_new_and_in_files(tmp_path: Path) -> None:
    seen = []
    given = {
        "ANTIPHON_API_KEYS": "sk-of-callers-0123456789",
        "ANTIPHON_LLM_API_KEY": "sk-of-the-model",
        "ANTIPHON_PASSWORD_KEY": "00" * 32,
        "AWS_SECRET_ACCESS_KEY": "of a cloud",
        "OPENAI_API_KEY": "of a plug-in",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=token",
    }
    plugin = tmp_path / "parrot.py"
    plugin.write_text("import time\nprint('I am', flush=True)\ntime.sleep(600)\n")
    options = ("--plugin", f"parrot={plugin}", "--plugin-env", "OPENAI_API_KEY")
    (scratch := tmp_path / "tmp").mkdir()
    for _ in range(2):
        with up_process(scratch, *options, environment=given) as running:
            running.wait_for(r"^parrot +\| I am")
            secrets = {}
            for part in ("nats", "relay", "transceiver", "signaling", "inference-bridge", "parrot"):
                environment = environment_of(running.pid_of(part))
                secrets[part] = dict(SECRET.findall(environment))
                assert ("OTEL_EXPORTER_OTLP_HEADERS" in environment) == (part not in ("nats", "parrot"))
            credentials = {part: had.pop("ANTIPHON_NATS_CREDENTIALS", "") for part, had in secrets.items()}
            assert credentials.pop("nats") == ""
            files = [Path(path) for path in credentials.values()]
            assert len(set(files)) == 5
            route = secrets["relay"].pop("ANTIPHON_ROUTE_KEYS_FILE")
            assert secrets["transceiver"].pop("ANTIPHON_ROUTE_KEYS_FILE") == route
            password = secrets["transceiver"].pop("ANTIPHON_PASSWORD_KEY_FILE")
            secret = secrets["signaling"].pop("ANTIPHON_SECRET_KEY_FILE")
            websocket = secrets["signaling"].pop("ANTIPHON_WEBSOCKET_NATS_CREDENTIALS")
            files += [Path(route), Path(password), Path(secret), Path(websocket)]
            assert {path.stat().st_mode & 0o777 for path in files} == {0o400}
            assert next(scratch.iterdir()).stat().st_mode & 0o777 == 0o700
            seen.append([path.read_text() for path in files])
            assert secrets.pop("signaling") == {"ANTIPHON_API_KEYS": given["ANTIPHON_API_KEYS"]}
            assert secrets.pop("inference-bridge") == {"ANTIPHON_LLM_API_KEY": given["ANTIPHON_LLM_API_KEY"]}
            assert secrets.pop("parrot") == {"OPENAI_API_KEY": given["OPENAI_API_KEY"]}
            assert not any(secrets.values()), secrets
    assert not set(seen[0]) & set(seen[1])


@pytest.mark.models
def test_settings_of_the_relay_are_passed_on_unless_options_decide_them(tmp_path: Path) -> None:
    given = {"ANTIPHON_RELAY_WORKERS": "1", "ANTIPHON_RELAY_NAME": "mine", "ANTIPHON_RELAY_BIND": "127.0.0.1:9"}
    with up_process(tmp_path, environment=given) as running:
        running.wait_for(r"^relay +\| .*relay mine serves")
        environment = environment_of(running.pid_of("relay"))
    told = dict(re.findall(r"ANTIPHON_RELAY_(\w+)=([^\0]*)", environment))
    assert told["WORKERS"] == "1"
    assert told["BIND"] != "127.0.0.1:9"


def test_a_busy_port_is_named_with_the_option_that_chooses_another() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp.bind(("127.0.0.1", 0))
        udp_port, tcp_port = udp.getsockname()[1], tcp.getsockname()[1]
        relay = _up("--http", "0", "--relay-port", str(udp_port))
        http = _up("--http", f"127.0.0.1:{tcp_port}", "--relay-port", "0")
        relay_tcp = _up("--http", "0", "--relay-port", "0", "--relay-tcp-port", str(tcp_port))
    for refused, words in (
        (relay, ("UDP port", udp_port, "--relay-port")),
        (http, ("TCP port", tcp_port, "--http")),
        (relay_tcp, ("TCP port", tcp_port, "--relay-tcp-port")),
    ):
        assert refused.returncode == 2
        assert all(str(word) in refused.stderr for word in words), refused.stderr
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.nightly
@pytest.mark.models
def test_two_stacks_run_beside_each_other(tmp_path: Path) -> None:
    with up_process(tmp_path) as one, up_process(tmp_path) as two:
        assert one.nats_url != two.nats_url
        for running in (one, two):
            running.wait_for(r"^signaling +\| .*serving on http://127.0.0.1:\d+")


def test_serving_others_needs_keys() -> None:
    for options in (("--public", "192.0.2.1"), ("--http", "0.0.0.0:0")):
        refused = _up(*options)
        assert refused.returncode == 2
        assert "ANTIPHON_API_KEYS" in refused.stderr


def test_wrong_options_are_told_in_one_line() -> None:
    for options in (
        ("--http", "localhost:x"),
        ("--http", "127.0.0.1:70000"),
        ("--relay-port", "99999"),
        ("--relay-tcp-port", "99999"),
        ("--public", "example.org"),
        ("--plugin", "/nonexistent.py"),
        ("--agents", "/nonexistent"),
    ):
        refused = _up(*options)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        assert options[0] in refused.stderr


@pytest.mark.models
def test_a_plug_in_runs_as_a_part(tmp_path: Path) -> None:
    plugin = tmp_path / "parrot.py"
    plugin.write_text("import os, time\nprint('I see', os.environ['ANTIPHON_NATS_URL'], flush=True)\ntime.sleep(600)\n")
    with up_process(tmp_path, "--plugin", str(plugin)) as running:
        running.wait_for(r"^parrot +\| I see nats://127.0.0.1:\d+")
        pid = running.pid_of("parrot")
        assert running.end() < 3
        assert not is_alive(pid)


def test_a_certificate_without_its_key_or_file_is_refused(tmp_path: Path) -> None:
    certificate, _ = pair().write(tmp_path)
    for options, named in (
        (("--tls-cert", str(certificate)), "--tls-cert and --tls-key belong together"),
        (("--tls-cert", str(certificate), "--tls-key", "/nowhere"), "--tls-key /nowhere: there is no such file"),
    ):
        done = _up(*options)
        assert done.returncode == 2
        assert named in done.stderr


@pytest.mark.models
@pytest.mark.nightly
def test_with_a_certificate_the_page_is_served_over_https(tmp_path: Path) -> None:
    certificate, key = pair().write(tmp_path / "tls")
    (tmp_path / "run").mkdir()
    with up_process(tmp_path / "run", "--tls-cert", str(certificate), "--tls-key", str(key)) as running:
        url = running.wait_until_ready()
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=certificate)
        with urllib.request.urlopen(f"{url}healthz", timeout=5, context=context) as reply:
            assert reply.status == 200
