"""Settings: what is refused names the variable, and the process says it in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.relay.settings import NO_CLUSTER, SettingsError, load
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
        ("ANTIPHON_CLUSTER", "4096", "from 0 to 4095, or none"),
        ("ANTIPHON_CLUSTER", "-1", "from 0 to 4095, or none"),
        ("ANTIPHON_RELAY_PLACE", "50.11", "<latitude>,<longitude>"),
        ("ANTIPHON_RELAY_PLACE", "95,8", "from -90 to 90"),
        ("ANTIPHON_RELAY_PLACE", "nan,8", "from -90 to 90"),
        ("ANTIPHON_RELAY_PLACE", "1,2,3", "'2,3' is not a number"),
        ("ANTIPHON_RELAY_BACKBONE_BIND", "0.0.0.0", "not an address"),
        ("ANTIPHON_RELAY_BACKBONE_BIND", "0.0.0.0:65535", "leaves no port for each of"),
        ("ANTIPHON_RELAY_BACKBONE_ADVERTISE", "10.0.0.1", "needs ANTIPHON_RELAY_BACKBONE_BIND"),
        ("ANTIPHON_RELAY_INGRESS", "3", "needs ANTIPHON_RELAY_BACKBONE_BIND"),
        ("ANTIPHON_RELAY_INGRESS", "0", "from 1 to 65535"),
        ("ANTIPHON_BACKBONE_KEY", "secret" * 12, "64 hex digits"),
        ("ANTIPHON_BACKBONE_KEY", f"{'ab' * 32},{'cd' * 32},{'ef' * 32}", "one or two keys"),
        ("ANTIPHON_BACKBONE_KEY", ",", "holds no key"),
        ("ANTIPHON_BACKBONE_KEY_FILE", "/nowhere/backbone", "No such file"),
        ("ANTIPHON_CLUSTER_KEYS", "1:zz", "no cluster's public key"),
        ("ANTIPHON_CLUSTER_KEYS_FILE", "/nowhere/clusters", "No such file"),
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


@pytest.mark.pure
def test_a_key_file_without_a_key_does_not_turn_the_tags_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    assert load().backbone_key_text() == ""
    file = tmp_path / "backbone"
    monkeypatch.setenv("ANTIPHON_BACKBONE_KEY_FILE", str(file))
    for content in (b"", b" \n", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=r"ANTIPHON_BACKBONE_KEY_FILE .*: is (empty|no text)"):
            load()
    file.write_text(f"{'ab' * 32}\n{'cd' * 32}\n")
    assert load().backbone_key_text() == f"{'ab' * 32},{'cd' * 32}"
    assert "abab" not in repr(load())


@pytest.mark.pure
def test_a_backbone_key_that_is_written_wrong_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    monkeypatch.setenv("ANTIPHON_BACKBONE_KEY", "ab" * 31)
    with pytest.raises(SettingsError) as refused:
        load()
    assert "abab" not in str(refused.value)


@pytest.mark.pure
def test_the_advertised_backbone_address_has_the_family_of_the_bound_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    monkeypatch.setenv("ANTIPHON_RELAY_BACKBONE_BIND", "[::]:0")
    monkeypatch.setenv("ANTIPHON_RELAY_BACKBONE_ADVERTISE", "192.0.2.1")
    with pytest.raises(SettingsError, match="is not of the family of the bound"):
        load()


@pytest.mark.pure
def test_a_relay_without_a_cluster_of_its_own_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ROUTE_KEYS", KEYS)
    assert load().cluster is None
    for text, cluster in (("none", NO_CLUSTER), ("0", 0), ("4095", 4095)):
        monkeypatch.setenv("ANTIPHON_CLUSTER", text)
        assert load().cluster == cluster


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
