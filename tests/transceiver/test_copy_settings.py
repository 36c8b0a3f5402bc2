"""The settings of copies, the keys of other clusters, and the way to an adopted call's client."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from support.processes.relay_process import ROUTE_KEYS

from antiphon.schemas import backbone, tunnel
from antiphon.schemas.addresses import Address
from antiphon.schemas.backbone import Route
from antiphon.schemas.messages import RelayAnnouncement, StoreCopy
from antiphon.transceiver.copies import sealing
from antiphon.transceiver.copies.copy_keys import read_keys
from antiphon.transceiver.copies.relay_directory import RelayDirectory
from antiphon.transceiver.failover.checkpoint_crypto import CheckpointCrypto
from antiphon.transceiver.net.endpoint import TransceiverIdentity
from antiphon.transceiver.settings import Settings

pytestmark = pytest.mark.pure

KEY = "ab" * 32
GOOD = f'[1]\npassword_key = "{KEY}"\nannounce_key = "{KEY}"\n'
HERE = TransceiverIdentity(2, 7, 8)
HUB = "nats://127.0.0.1:4333"


def keys_file(directory: Path, text: str, mode: int = 0o400) -> Path:
    file = directory / "copy-of"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_keys_of_a_cluster_are_read(tmp_path: Path) -> None:
    found = read_keys(keys_file(tmp_path, GOOD), 2)
    assert list(found) == [1]
    assert found[1].password_key == bytes.fromhex(KEY)
    assert len(found[1].announcement_key.public) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no cluster"),
        ("not toml at all", "no TOML file"),
        ("\x00\x01", "no TOML file"),
        (GOOD.replace("[1]", "[one]"), "named after its cluster"),
        (GOOD.replace("[1]", "[4096]"), "named after its cluster"),
        (GOOD.replace("[1]", "[2]"), "our own cluster"),
        ("1 = 5\n", "named after its cluster"),
        (GOOD.replace("password_key", "pasword_key"), "'pasword_key' is no key of it"),
        (GOOD.replace(KEY, "ab", 1), "fewer than 16 bytes"),
        (GOOD.replace(KEY, "xy" * 32, 1), "not written as hex digits"),
        ('[1]\npassword_key = "' + KEY + '"\n', "announce_key"),
    ],
)
def test_a_file_of_keys_that_can_not_be_used_is_refused_without_showing_a_key(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        read_keys(keys_file(tmp_path, text), 2)
    assert KEY not in str(refused.value)


def test_a_file_of_keys_that_others_may_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may be read by others"):
        read_keys(keys_file(tmp_path, GOOD, 0o444), 2)
    with pytest.raises(ValueError, match="can't be read"):
        read_keys(tmp_path / "missing", 2)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"copy_cluster": 2}, "needs ANTIPHON_HUB_NATS_URL"),
        ({"copy_cluster": 1, "hub_nats_url": HUB}, "is our own cluster"),
        ({"copy_cluster": 2, "hub_nats_url": HUB, "hand_over": False}, "needs checkpoints"),
        ({"copy_cluster": 2, "hub_nats_url": HUB, "copy_calls": "some"}, "asked"),
    ],
)
def test_settings_of_copies_that_can_not_work_are_refused(settings: dict[str, object], says: str) -> None:
    given = {"route_keys": ROUTE_KEYS, "password_key": KEY, "cluster": 1} | settings
    with pytest.raises(ValidationError, match=says):
        Settings.model_validate(given)


def test_copies_are_off_unless_they_are_set() -> None:
    settings = Settings.model_validate({"route_keys": ROUTE_KEYS, "password_key": KEY, "copy_cluster": ""})
    assert settings.copy_cluster is None
    assert settings.copies_of() == {}


def test_what_is_sealed_for_one_copy_opens_as_no_other() -> None:
    crypto = CheckpointCrypto(bytes.fromhex(KEY), "0123456789abcdef")
    copy = StoreCopy(cluster=1, slot=2, epoch=3, session_id="rtc_one", generation=4, number=5)
    sealed = sealing.sealed(crypto, copy, sealing.Content(b"state", "lease").to_bytes())
    assert sealing.Content.from_bytes(sealing.opened(crypto, sealed)) == (b"state", "lease")
    for change in ({"number": 6}, {"generation": 5}, {"session_id": "rtc_two"}, {"slot": 3}, {"ended": True}):
        with pytest.raises(ValueError, match="not sealed"):
            sealing.opened(crypto, sealed.model_copy(update=change))
    with pytest.raises(ValueError, match="not sealed"):
        sealing.opened(CheckpointCrypto(bytes(32), "0123456789abcdef"), sealed)
    for text in ("", "AA==", "no base64!"):
        with pytest.raises(ValueError, match=r"bytes only|not sealed"):
            sealing.opened(crypto, sealed.model_copy(update={"sealed": text}))


def relay(name: str, port: int, cluster: int, ingress: int = 0, workers: int = 0) -> RelayAnnouncement:
    return RelayAnnouncement(
        name=name,
        public_addresses=[f"127.0.0.1:{port}"],
        tunnel_addresses=[f"10.0.0.{cluster}:{port}"],
        cluster=cluster,
        ingress=ingress,
        backbone_addresses=[f"10.9.0.{cluster}:{port + each}" for each in range(workers)],
    )


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_a_client_of_a_third_place_is_reached_by_the_same_ingress_through_a_relay_of_ours(host: str) -> None:
    relays = RelayDirectory(2)
    relays.announced(relay("old", 4000, 1, 1, 1), 0.0)
    relays.announced(relay("ours-without", 4001, 2), 0.0)
    relays.announced(relay("ours", 4002, 2, 2, 2), 0.0)
    plain = tunnel.pack_header(Address(host, 999), tcp=True)
    way = relays.way(backbone.with_route(plain, Route(9, 1, 2, 3)), Address("10.0.0.1", 4000), HERE, 1.0)
    assert way.header == backbone.with_route(plain, Route(9, 7, 8, 3))
    assert way.relay == Address("10.0.0.2", 4002), "one with a backbone"
    assert way.also == [plain]


def test_a_client_of_the_lost_cluster_s_relay_is_reached_by_that_relay_as_an_ingress() -> None:
    relays = RelayDirectory(2)
    relays.announced(relay("old", 4000, 1, 5, 2), 0.0)
    relays.announced(relay("ours", 4002, 2, 2, 2), 0.0)
    plain = tunnel.pack_header(Address("192.0.2.7", 999))
    way = relays.way(plain, Address("10.0.0.1", 4000), HERE, 1.0)
    assert way.header == backbone.with_route(plain, Route(5, 7, 8, 0))
    assert way.also == [plain, backbone.with_route(plain, Route(5, 7, 8, 1))]


def test_where_no_relay_is_known_the_call_waits_for_a_check() -> None:
    plain = tunnel.pack_header(Address("192.0.2.7", 999))
    assert RelayDirectory(2).way(plain, Address("10.0.0.1", 4000), HERE, 1.0) == (plain, None, [])
    relays = RelayDirectory(2)
    relays.announced(relay("ours", 4002, 2, 2, 2), 0.0)
    assert relays.way(plain, None, HERE, 30.0).relay is None, "it is not announced any more"
