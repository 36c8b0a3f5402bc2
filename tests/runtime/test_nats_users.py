"""Users of a NATS server as files: made, taken away while it runs, and refused with a line that says what to do."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats.errors
import pytest
from nats.aio.msg import Msg
from support.certificates import certificates
from support.conditions import until
from support.processes.nats import nats_server
from support.processes.nats_roles import GuardedNats, guarded_nats

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Users, UsersError, add_arguments, run, stack_users

pytestmark = pytest.mark.process

ECHO, THEIRS, NEW = User("agent", "echo"), User("agent", "theirs"), User("agent", "new")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedNats]:
    with guarded_nats(tmp_path / "nats", [ECHO, THEIRS, User("transceiver"), User("relay", "mine")]) as running:
        yield running


async def test_users_come_and_go_and_the_others_stay_connected(
    server: GuardedNats, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that goes is told once, not four times a second, and is back when its credential is."""
    async with server.client(THEIRS) as theirs, server.client(User("transceiver")) as transceiver:
        heard: list[bytes] = []

        async def take(message: Msg) -> None:
            heard.append(message.data)

        await theirs.subscribe("antiphon.v1.session.theirs.s1.event", cb=take)
        await theirs.flush()
        ids = [theirs._client_id, transceiver._client_id]
        echo = await connection.connect(server.url, "echo", server.access(ECHO))
        seed = server.users.seed_file(ECHO).read_text()
        server.users.add([NEW])
        known = server.users._known.read_text()
        server.users.remove(ECHO.title)
        server.reload()
        await until(lambda: not echo.is_connected)
        async with server.client(NEW) as new:
            await new.flush()
        attempts: list[Exception] = []
        report = echo._error_cb

        async def count(error: Exception) -> None:
            attempts.append(error)
            await report(error)

        echo._error_cb = count
        await until(lambda: len(attempts) >= 5)
        said = [record.getMessage() for record in caplog.records if "credential" in record.getMessage()]
        assert len(said) <= 2, said  # its file is gone; the server refuses it
        server.users._known.write_text(known)
        server.users.add([])  # writes the server's file anew
        server.users._write(server.users.seed_file(ECHO), seed, 0o400)
        server.reload()
        await until(lambda: echo.is_connected)
        await transceiver.publish("antiphon.v1.session.theirs.s1.event", b"still there")
        await until(lambda: heard == [b"still there"])
        assert [theirs._client_id, transceiver._client_id] == ids
        await echo.close()


async def test_what_is_not_allowed_is_named_once_per_subject_and_bounded(
    server: GuardedNats, caplog: pytest.LogCaptureFixture
) -> None:
    echo = await connection.connect(server.url, "echo", server.access(ECHO))
    with caplog.at_level(logging.INFO):
        await echo.subscribe("antiphon.v1.agent.Other.claim")
        with pytest.raises(connection.RefusedError) as refused:
            await connection.require_allowed(echo)
        for number in range(500):
            await echo.publish(f"antiphon.v1.session.theirs.s{number}.audio.out", b"x")
        await echo.flush()
    await echo.close()
    assert str(refused.value) == "the credential of agent echo may not subscribe antiphon.v1.agent.Other.claim"
    said = [record for record in caplog.records if "may not" in record.getMessage()]
    assert "nats: the credential of agent echo may not subscribe antiphon.v1.agent.Other.claim" in said[0].getMessage()
    assert said[0].levelname == "ERROR"
    assert len(said) <= 20
    assert len(echo.refused) <= 64


AGENT = (
    "from antiphon.agent import Agent\nagent = Agent({name!r}{more})\n"
    "@agent.session\nasync def talk(session): ...\nagent.run()"
)


@pytest.mark.parametrize("more", ["", ", shadow_of='echo'"])
def test_an_agent_with_another_agent_s_credential_ends_and_says_so(server: GuardedNats, more: str) -> None:
    environment = {**os.environ, **server.environment(THEIRS)}
    code = AGENT.format(name="echo", more=more)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert re.search(r"the credential of agent echo may not \w+ antiphon.v1.agent.echo.beat", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["relay", "transceiver", "signaling", "inference_bridge"])
def test_a_service_refuses_a_credential_that_it_cannot_use(module: str, tmp_path: Path) -> None:
    from support.processes.transceiver_process import ENVIRONMENT

    file = tmp_path / "nkey"
    environment = {**os.environ, **ENVIRONMENT, "ANTIPHON_NATS_CREDENTIALS": str(file)}
    command = [sys.executable, "-m", f"antiphon.{module}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"ANTIPHON_NATS_CREDENTIALS {file} can't be read: No such file" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_transceiver_with_a_relay_s_credential_names_what_it_may_not_do(server: GuardedNats) -> None:
    from support.processes.transceiver_process import ENVIRONMENT

    environment = {**os.environ, **ENVIRONMENT, **server.environment(User("relay", "mine"))}
    command = [sys.executable, "-m", "antiphon.transceiver"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert "the credential of transceiver may not " in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_user_and_a_password_in_the_address_still_do(tmp_path: Path) -> None:
    settings = (
        '\nauthorization { users = [ { user: relay, password: secret, permissions: { publish: "antiphon.v1.flow.find", '
        'subscribe: "_INBOX_relay.>" } } ] }\n'
    )
    with nats_server(tmp_path, settings=settings, stores=False) as url:
        own = url.replace("//", "//relay:secret@")
        client = await connection.connect_once(own, "relay", Access("relay"))
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("antiphon.v1.flow.find", b"", timeout=2)
        await client.close()
        with pytest.raises(nats.errors.AuthorizationError, match="refuses the user in the address"):
            await connection.connect_once(url.replace("//", "//relay:wrong@"), "relay", Access("relay"))


# ---- TLS -----------------------------------------------------------------------------------------------


async def test_tls_takes_the_right_authority_alone_and_never_goes_on_in_clear(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, wrong = certificates(tmp_path / "right"), certificates(tmp_path / "wrong")
    tls = f'\ntls {{ cert_file: "{right.cert}", key_file: "{right.key}", ca_file: "{right.ca}", verify: true }}\n'
    with guarded_nats_with_tls(tmp_path / "nats", tls) as (url, users):
        seed = users.seed_file(ECHO)
        good = Access("agent", "echo", seed, right.ca, right.cert, right.key)
        client = await connection.connect_once(url, "echo", good)
        await client.flush()
        await client.close()
        with pytest.raises(nats.errors.Error, match=f"not trusted.*ANTIPHON_NATS_TLS_CA {wrong.ca}"):
            await connection.connect_once(url, "echo", Access("agent", "echo", seed, wrong.ca))
        task = asyncio.create_task(connection.connect(url, "echo", Access("agent", "echo", seed, wrong.ca)))
        await until(lambda: f"ANTIPHON_NATS_TLS_CA {wrong.ca}" in caplog.text)
        task.cancel()
        await asyncio.wait({task})
    with nats_server(tmp_path / "clear", stores=False) as url, pytest.raises(nats.errors.Error, match="offers no TLS"):
        await connection.connect_once(url, "echo", Access("agent", "echo", seed, right.ca))


class guarded_nats_with_tls:
    """A server that asks for client certificates, and its users."""

    def __init__(self, directory: Path, settings: str) -> None:
        self.users = Users(directory / "credentials")
        self.users.add([ECHO])
        included = f'\ninclude "{self.users.server_file.relative_to(directory)}"\n'
        self._server = nats_server(directory, settings=included + settings, stores=False)

    def __enter__(self) -> tuple[str, Users]:
        return self._server.__enter__().replace("127.0.0.1", "localhost").replace("tls://", "nats://"), self.users

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)


# ---- the directory -------------------------------------------------------------------------------------


def test_credentials_are_made_once_readable_by_their_owner_and_taken_away_again(tmp_path: Path) -> None:
    users = Users(tmp_path / "nats")
    wanted = stack_users(["relay"])
    assert users.add(wanted) == wanted
    seeds = {user.title: users.seed_file(user).read_text() for user in wanted}
    assert users.add([*wanted, ECHO]) == [ECHO]
    assert {user.title: users.seed_file(user).read_text() for user in wanted} == seeds
    assert {users.seed_file(user).stat().st_mode & 0o777 for user in wanted} == {0o400}
    assert users.directory.stat().st_mode & 0o777 == 0o700
    text = users.server_file.read_text()
    assert "echo" in text
    assert not any(seed.strip() in text for seed in seeds.values())
    users.remove("agent-echo")
    assert "agent-echo" not in users.server_file.read_text()
    assert not users.seed_file(ECHO).exists()
    with pytest.raises(UsersError, match="no user agent-echo"):
        users.remove("agent-echo")


def _credentials(directory: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(directory), *options]))


def test_the_hub_s_users_are_of_its_regions_and_a_region_s_server_takes_its_own_as_a_file(tmp_path: Path) -> None:
    assert _credentials(tmp_path, "--hub", "--region", "eu:1,2:eu-a", "--region", "us:3") == 0
    assert _credentials(tmp_path, "--hub", "--region", "eu:1,2:eu-a", "--region", "ap:4") == 0, "a further region"
    users = Users(tmp_path)
    regions = ("eu", "us", "ap")
    expected = {f"{role}-{name}" for role in ("leaf", "hub_relay", "hub_transceiver") for name in regions}
    assert {each.user.title for each in users.all()} == expected | {"hub_setup"}
    leaf = users.seed_file(User("leaf", "eu"))
    assert leaf.name == "leaf.conf"
    assert leaf.stat().st_mode & 0o777 == 0o400
    assert re.fullmatch(r'leaf_seed: "SU[A-Z0-9]+"\n', leaf.read_text())
    text = users.server_file.read_text()
    assert text.count('allowed_connection_types: ["LEAFNODE"]') == len(regions)
    assert text.count('allowed_connection_types: ["STANDARD"]') == len(expected) + 1 - len(regions)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--hub",), "--hub needs a --region for each region"),
        (("--hub", "--region", "eu"), "names no region"),
        (("--hub", "--region", "eu:x"), "names no region"),
        (("--hub", "--region", "e.u:1"), "may hold letters"),
        (("--hub", "--region", "eu:5000"), "out of range"),
        (("--hub", "--region", "eu:1:a.b"), "may hold letters"),
        (("--hub", "--region", "eu:1", "--relay", "r"), "nothing else"),
        (("--region", "eu:1"), "--region goes with --hub"),
    ],
)
def test_a_region_that_can_t_be_one_is_refused(
    tmp_path: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _credentials(tmp_path, *options) == 2
    assert said in capsys.readouterr().err


def test_a_region_s_clusters_change_and_its_credential_stays_until_it_is_taken_away(tmp_path: Path) -> None:
    assert _credentials(tmp_path, "--hub", "--region", "eu:1") == 0
    users = Users(tmp_path)
    seed = users.seed_file(User("leaf", "eu")).read_text()
    assert "antiphon.v1.transceiver.2.*.announce" not in users.server_file.read_text()
    assert _credentials(tmp_path, "--hub", "--region", "eu:1,2") == 0
    assert users.seed_file(User("leaf", "eu")).read_text() == seed
    assert "antiphon.v1.transceiver.2.*.announce" in users.server_file.read_text()
    assert _credentials(tmp_path, "--remove", "leaf-eu") == 0
    assert "leaf-eu" not in users.server_file.read_text()
    assert not users.seed_file(User("leaf", "eu")).exists()
    assert _credentials(tmp_path, "--remove", "leaf-eu") == 2


@pytest.mark.parametrize(
    "user",
    [
        User("agent", "a.b"),
        User("agent", "*"),
        User("agent"),
        User("king"),
        User("shadow", "ear", of=">"),
        User("relay", "x" * 65),
        User("transceiver", cluster=5000),
    ],
)
def test_a_user_that_no_subject_can_hold_is_refused(tmp_path: Path, user: User) -> None:
    with pytest.raises(UsersError):
        Users(tmp_path).add([user])


def test_many_are_added_at_once_and_none_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom antiphon.runtime.nats.permissions import User\n"
        "from antiphon.runtime.nats.users import Users\n"
        "for n in range(5): Users(Path(sys.argv[1])).add([User('agent', sys.argv[2] + str(n))])"
    )
    adding = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "u"), name]) for name in ("a", "b", "c")]
    assert [process.wait(30) for process in adding] == [0, 0, 0]
    assert len(Users(tmp_path / "u").all()) == 15


async def test_a_server_without_users_lets_nobody_in(tmp_path: Path) -> None:
    users = Users(tmp_path / "credentials")
    users.add([ECHO])
    users.remove(ECHO.title)
    included = f'\ninclude "{users.server_file.relative_to(tmp_path)}"\n'
    server = nats_server(tmp_path, settings=included, stores=False)
    with server as url, pytest.raises(nats.errors.AuthorizationError):
        await connection.connect_once(url, "anybody")
