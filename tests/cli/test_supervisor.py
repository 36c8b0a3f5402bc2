"""The supervisor with real processes of a few lines each."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes.up_process import is_alive, wait_until_gone

from antiphon.cli.up.supervisor import TERM_GRACE, Part, RestartPolicy, Supervisor
from antiphon.cli.up.terminal import Terminal

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SLEEPER = "import time; time.sleep(600)"


class Bench:
    """A supervisor, what it prints, and a thread-free way to let it work until something holds."""

    def __init__(self) -> None:
        self.screen = io.StringIO()
        self.terminal = Terminal(["part"], self.screen)
        self.supervisor = Supervisor(self.terminal)

    def add(self, program: str, name: str = "part") -> Part:
        part = Part(name, lambda: [sys.executable, "-c", program], os.environ, self.terminal)
        self.supervisor.add(part)
        return part

    def tend_until(self, holds: Callable[[], bool], within: float = 20) -> None:
        deadline = time.monotonic() + within
        while not holds():
            assert time.monotonic() < deadline, self.screen.getvalue()
            self.supervisor.tend()
            time.sleep(0.01)

    def wait_for(self, text: str) -> None:
        self.tend_until(lambda: text in self.screen.getvalue())


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.supervisor.request_stop()
    bench.supervisor.request_stop()
    bench.supervisor.end_all()


@pytest.mark.pure
def test_the_wait_before_a_restart_doubles_up_to_its_bound() -> None:
    policy = RestartPolicy()
    assert [policy.wait_after(lived=1) for _ in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.pure
def test_a_part_that_lived_long_is_restarted_at_once_again() -> None:
    policy = RestartPolicy()
    for _ in range(6):
        policy.wait_after(lived=1)
    assert policy.wait_after(lived=policy.STABLE) == 0.25


@pytest.mark.process
def test_a_part_that_dies_is_started_again_and_the_screen_says_so(bench: Bench) -> None:
    part = bench.add(SLEEPER)
    first = part.pid
    os.kill(first, signal.SIGKILL)
    bench.tend_until(lambda: part.pid != first)
    assert is_alive(part.pid)
    assert "part has died (killed by SIGKILL); it is started again in 0.25 s." in bench.screen.getvalue()


TAKES_OVER = f"""
import sys
role = "standby" if sys.argv[1:] else "first"
print(role, "waits" if sys.argv[1:] else "runs", flush=True)
if sys.argv[1:] and not sys.stdin.readline():
    sys.exit(0)
print(role, "is the part", flush=True)
{SLEEPER}
"""


def _with_standby(bench: Bench) -> Part:
    """A part that has run for long, whose standby waits."""
    part = Part("part", lambda: [sys.executable, "-c", TAKES_OVER], os.environ, bench.terminal, standby=True)
    bench.supervisor.parts.append(part)
    part.start(time.monotonic() - RestartPolicy.STABLE)
    bench.wait_for("first is the part")  # the standby may be faster
    bench.wait_for("standby waits")
    return part


@pytest.mark.process
def test_a_standby_takes_over_from_a_part_that_dies_and_gets_a_standby_of_its_own(bench: Bench) -> None:
    part = _with_standby(bench)
    first = part.pid
    os.kill(first, signal.SIGKILL)
    bench.wait_for("standby is the part")
    assert part.pid != first
    assert is_alive(part.pid)
    assert "part has died (killed by SIGKILL); its standby takes over." in bench.screen.getvalue()
    bench.tend_until(lambda: bench.screen.getvalue().count("standby waits") == 2)


@pytest.mark.process
def test_a_part_whose_standby_has_died_too_is_started_again(bench: Bench) -> None:
    part = _with_standby(bench)
    first, standby = part.pid, int(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()[-1])
    os.kill(standby, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    bench.tend_until(lambda: bench.screen.getvalue().count("first is the part") == 2)
    assert part.pid not in (first, standby)


@pytest.mark.process
def test_a_standby_ends_with_its_part(bench: Bench) -> None:
    _with_standby(bench)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    bench.supervisor.end_all()
    wait_until_gone([int(each) for each in children[-2:]], within=5)


@pytest.mark.process
def test_the_death_of_a_process_ends_a_pause(bench: Bench) -> None:
    before = signal.getsignal(signal.SIGCHLD), [signal.getsignal(each) for each in _STOPPING]
    bench.supervisor.catch_signals()
    try:
        part = bench.add("import sys; sys.stdin.read()")
        began = time.monotonic()
        while part.gone() is False:
            assert not bench.supervisor.pause(30)
        assert time.monotonic() - began < 30
    finally:
        signal.signal(signal.SIGCHLD, before[0])
        for number, handler in zip(_STOPPING, before[1], strict=True):
            signal.signal(number, handler)


@pytest.mark.process
def test_what_a_dead_part_had_started_is_ended_too(bench: Bench) -> None:
    part = bench.add(
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); "
        "print('child', p.pid, flush=True); time.sleep(600)"
    )
    bench.wait_for("child ")
    child = int(bench.screen.getvalue().split("child ")[1].split()[0])
    os.kill(part.pid, signal.SIGKILL)
    bench.wait_for("has died")
    wait_until_gone([child], within=5)


@pytest.mark.process
def test_a_part_that_refuses_its_settings_is_not_started_again(bench: Bench) -> None:
    part = bench.add("import sys; print('X is wrong'); sys.exit(2)")
    bench.tend_until(lambda: part.refused)
    pid = part.pid
    for _ in range(50):
        bench.supervisor.tend()
    assert part.pid == pid
    assert "refuses its settings" in bench.screen.getvalue()


@pytest.mark.process
def test_a_part_that_has_run_well_is_started_again_whatever_it_says_later(bench: Bench) -> None:
    programs = [SLEEPER]
    part = Part("part", lambda: [sys.executable, "-c", programs[-1]], os.environ, bench.terminal)
    bench.supervisor.parts.append(part)
    clock = time.monotonic() - 10 * RestartPolicy.STABLE
    part.start(clock)
    programs.append("import sys; print('the port is taken'); sys.exit(2)")
    os.kill(part.pid, signal.SIGKILL)
    bench.tend_until(lambda: bench.screen.getvalue().count("the port is taken") > 1)
    assert not part.refused


@pytest.mark.process
def test_a_part_that_ignores_the_request_to_end_is_killed_in_time(bench: Bench) -> None:
    bench.add(SLEEPER, "part")
    stubborn = bench.add(f"import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); {SLEEPER}")
    bench.wait_for("deaf")
    begun = time.monotonic()
    bench.supervisor.end_all()
    assert time.monotonic() - begun < 3
    assert not is_alive(stubborn.pid)


@pytest.mark.process
def test_a_second_interrupt_kills_at_once(bench: Bench) -> None:
    bench.add(SLEEPER)
    bench.add(f"import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); {SLEEPER}")
    bench.wait_for("deaf")
    bench.supervisor.request_stop()
    threading.Timer(0.1, bench.supervisor.request_stop).start()
    begun = time.monotonic()
    bench.supervisor.end_all()
    assert time.monotonic() - begun < TERM_GRACE


@pytest.mark.process
def test_a_part_whose_supervisor_is_killed_outright_goes_with_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import os, sys, time
            from antiphon.cli.up.supervisor import Part, Supervisor
            from antiphon.cli.up.terminal import Terminal
            terminal = Terminal(["part"])
            supervisor = Supervisor(terminal)
            command = [sys.executable, "-c", "print('up', flush=True); {SLEEPER}"]
            supervisor.add(Part("part", lambda: command, os.environ, terminal))
            time.sleep(600)
            """
        )
    )
    with subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stderr is not None
        pid = int(supervisor.stderr.readline().split()[-1])
        assert "up" in supervisor.stderr.readline()
        supervisor.kill()
        wait_until_gone([pid], within=5)


@pytest.mark.pure
def test_the_name_in_a_services_own_line_is_not_repeated() -> None:
    screen = io.StringIO()
    terminal = Terminal(["relay", "transceiver"], screen)
    terminal.log("relay", "10:00:00 INFO relay serves 127.0.0.1:3478")
    terminal.log("relay", "10:00:01 WARNING relay nats: connection lost")
    terminal.log("transceiver", "Traceback")
    assert screen.getvalue().splitlines() == [
        "relay       | 10:00:00 serves 127.0.0.1:3478",
        "relay       | 10:00:01 WARNING nats: connection lost",
        "transceiver | Traceback",
    ]


@pytest.mark.pure
def test_a_terminal_that_is_gone_is_no_error() -> None:
    screen = io.StringIO()
    terminal = Terminal(["relay"], screen)
    screen.close()
    terminal.log("relay", "nobody reads this")
