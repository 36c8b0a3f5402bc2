"""Settings: what is refused names the variable, and the process says it in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.relay.settings import SettingsError, load
from antiphon.schemas.addresses import Address

KEYS = "A:00112233445566778899aabbccddeeff"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANTIPHON_"):
            monkeypatch.delenv(name)


@pytest.mark.pure
def test_keys_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    settings = load()
    assert settings.relay_bind == [Address("0.0.0.0", 3478)]
    assert settings.route_keys_text() == KEYS
    assert KEYS not in repr(settings)


@pytest.mark.pure
def test_keys_come_from_a_file_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEYS}\nB:{'0' * 32}\n")
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS_FILE", str(tmp_path / "keys"))
    assert load().route_keys_text() == f"{KEYS},B:{'0' * 32}"


@pytest.mark.pure
def test_one_address_of_each_family_may_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    monkeypatch.setenv("ANTIPHON_RELAY_BIND", "127.0.0.1:0, [::1]:3478")
    assert load().relay_bind == [Address("127.0.0.1", 0), Address("::1", 3478)]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ANTIPHON_ROUTE_KEYS", "", "is not set"),
        ("ANTIPHON_ROUTE_KEYS", "A:zz", "32 hex digits"),
        ("ANTIPHON_ROUTE_KEYS", "A:00", "AES-128 takes 16"),
        ("ANTIPHON_NATS_URL", "nats://127.0.0.1:abc", "no NATS address"),
        ("ANTIPHON_NATS_URL", "http://127.0.0.1:4222", "no NATS address"),
        ("ANTIPHON_RELAY_BIND", "localhost:3478", "not an address"),
        ("ANTIPHON_RELAY_BIND", "127.0.0.1:1,127.0.0.1:2", "one IPv4 and one IPv6"),
        ("ANTIPHON_RELAY_PUBLIC_ADDRESSES", "example.org:3478", "not an address"),
        ("ANTIPHON_RELAY_TUNNEL_BIND", "::1:0", "not an address"),
        ("ANTIPHON_RELAY_TUNNEL_ADVERTISE", "here", "does not appear to be"),
        ("ANTIPHON_RELAY_NAME", "a.b", "letters, digits"),
        ("ANTIPHON_RELAY_MAX_FLOWS", "0", "from 1 to 4000000"),
        ("ANTIPHON_RELAY_PATH", "fast", "'auto', 'batched' or 'portable'"),
    ],
)
def test_a_bad_setting_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert name in str(refused.value)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.pure
@pytest.mark.parametrize("written", [KEYS[2:], f"{KEYS[2:]}:A", f"A{KEYS[2:]}", f"{KEYS},{KEYS[2:]}"])
def test_a_key_that_is_written_wrong_is_not_shown(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", written)
    with pytest.raises(SettingsError, match="a colon and 32 hex digits") as refused:
        load()
    assert KEYS[2:] not in str(refused.value)


def _run(**environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return subprocess.run(
        [sys.executable, "-m", "antiphon.relay"], env=clean | environment, capture_output=True, text=True, timeout=20
    )


@pytest.mark.process
def test_a_relay_without_keys_exits_with_one_line_and_status_2() -> None:
    ended = _run()
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "ANTIPHON_ROUTE_KEYS" in ended.stderr


@pytest.mark.process
def test_a_port_that_is_taken_is_named_in_one_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        ended = _run(ANTIPHON_ROUTE_KEYS=KEYS, ANTIPHON_RELAY_BIND=taken)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert taken in ended.stderr
