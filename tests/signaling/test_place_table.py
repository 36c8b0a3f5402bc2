"""The table of places: what it says of addresses, and files that are no table, half one, or none any more."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.place_tables import place_table

from antiphon.signaling.placement.geography import Coordinates
from antiphon.signaling.placement.place_table import LOOK_SECONDS, PlaceTable
from antiphon.signaling.settings import load

pytestmark = pytest.mark.pure

FRANKFURT = {"location": {"latitude": 50.11, "longitude": 8.68}}
SYDNEY = {"location": {"latitude": -33.87, "longitude": 151.21}}
TABLE = place_table(
    {"192.0.2.0/25": FRANKFURT, "2001:db8:5::/48": SYDNEY, "198.51.100.0/24": {"country": {"iso_code": "AU"}}}
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "places.mmdb"
    path.write_bytes(TABLE)
    return path


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", Coordinates(50.11, 8.68)),
        ("::ffff:192.0.2.7", Coordinates(50.11, 8.68)),
        ("2001:db8:5::1", Coordinates(-33.87, 151.21)),
        ("fe80::1%eth0", None),
        ("192.0.2.200", None),
        ("198.51.100.1", None),
        ("127.0.0.1", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_an_address_is_where_the_table_says(path: Path, host: str, place: Coordinates | None) -> None:
    assert PlaceTable(path).find(host) == place


@pytest.mark.parametrize(
    "record",
    [
        FRANKFURT,
        {"latitude": 50.11, "longitude": 8.68},
        {"lat": "50.11", "lng": "8.68"},
    ],
)
def test_the_forms_of_several_makers_are_read(path: Path, record: dict[str, Any]) -> None:
    path.write_bytes(place_table({"192.0.2.0/25": record}))
    assert PlaceTable(path).find("192.0.2.7") == Coordinates(50.11, 8.68)


def test_a_table_of_ipv4_knows_nothing_of_ipv6(path: Path) -> None:
    path.write_bytes(place_table({"192.0.2.0/25": FRANKFURT}, ip_version=4))
    table = PlaceTable(path)
    assert table.find("192.0.2.7") == Coordinates(50.11, 8.68)
    assert table.find("2001:db8:5::1") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"nonsense" * 100, "no table in MaxMind's format"),
        (TABLE[: len(TABLE) // 2], "no table in MaxMind's format"),
        (place_table({"192.0.2.0/25": {"country": {"iso_code": "AU"}}}, kind="Test-Country"), "holds no places"),
    ],
)
def test_what_is_no_table_is_named_with_its_file_at_start(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why) as error:
        PlaceTable(path)
    assert str(path) in str(error.value)
    assert "ANTIPHON_PLACE_TABLE" in str(error.value)


def test_a_file_that_is_not_there_is_named_at_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be read: No such file"):
        PlaceTable(tmp_path / "none.mmdb")
    with pytest.raises(ValueError, match="can't be read"):
        PlaceTable(tmp_path)


def test_a_changed_file_is_read_and_a_broken_one_leaves_the_old_table(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, now = PlaceTable(path), 0.0

    def place(content: bytes | None) -> Coordinates | None:
        nonlocal now
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        for _ in range(3):
            now += LOOK_SECONDS
            table.look(now)
        return table.find("192.0.2.7")

    frankfurt, sydney = Coordinates(50.11, 8.68), Coordinates(-33.87, 151.21)
    with caplog.at_level(logging.ERROR):
        assert place(place_table({"192.0.2.0/25": SYDNEY})) == sydney
        assert not caplog.records
        assert place(TABLE[:-20]) == sydney
        assert place(None) == sydney
        assert len(caplog.records) == 2  # each fault is told once
        assert place(TABLE) == frankfurt
    assert "192.0.2.7" not in caplog.text


@given(st.integers(0, len(TABLE) - 1), st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_table_is_refused_or_answers(tmp_path: Path, position: int, octet: int) -> None:
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(TABLE[:position] + bytes([octet]) + TABLE[position + 1 :])
    try:
        table = PlaceTable(path)
    except ValueError:
        return
    for host in ("192.0.2.7", "2001:db8:5::1", "198.51.100.1"):
        table.find(host)


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_PLACE_TABLE", "")
    assert load().place_table is None
