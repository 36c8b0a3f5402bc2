"""Client secrets, without any server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.runtime.api_keys import KeyTable, keys_of_list
from antiphon.schemas.messages import may_manage
from antiphon.signaling.auth.client_secret import SecretError, SecretSigner, fixed, locked_paths

pytestmark = pytest.mark.pure

OLD, NEW = "0a" * 32, "0b" * 32
FIRST, SECOND = keys_of_list(["first-key-of-a-server", "second-key-of-a-server"])
TABLE = KeyTable([FIRST, SECOND])


def test_a_secret_carries_its_settings_and_bounds_to_any_instance_with_the_secret_key() -> None:
    settings = {"agent": "echo", "voice": "ü"}
    made = SecretSigner(OLD).mint(
        settings, 60, 1000.0, key=SECOND, max_calls=3, origin="https://shop.example", counter="c1"
    )
    assert made.value.startswith("ek_")
    assert made.expires_at == 1060
    read = SecretSigner(OLD).read(made.value, TABLE, 1001.0)
    assert (read.settings, read.max_calls, read.origin) == (settings, 3, "https://shop.example")
    assert (read.key, read.counter, read.made_at, read.expires_at) == (SECOND, "c1", 1000, 1060)


def test_each_secret_has_an_id_of_its_own_and_is_a_creator_below_its_key() -> None:
    signer = SecretSigner(OLD)
    one, other = (signer.read(signer.mint({}, 60, 0.0, key=FIRST).value, TABLE, 1.0) for _ in range(2))
    assert one.id != other.id
    assert may_manage(one.creator, one.creator)
    assert may_manage(FIRST.creator, one.creator)
    assert not may_manage(other.creator, one.creator)
    assert not may_manage(SECOND.creator, one.creator)
    assert not may_manage(one.creator, FIRST.creator)


def test_a_secret_lives_through_the_rotation_of_secret_keys_and_ends_with_its_own() -> None:
    secret = SecretSigner(OLD).mint({}, 60, 0.0, key=FIRST).value
    assert SecretSigner(f"{NEW},{OLD}").read(secret, TABLE, 1.0).key == FIRST
    with pytest.raises(SecretError):
        SecretSigner(NEW).read(secret, TABLE, 1.0)


def test_a_secret_ends_with_the_api_key_that_made_it() -> None:
    signer = SecretSigner(OLD)
    secret = signer.mint({}, 60, 0.0, key=FIRST).value
    assert signer.read(secret, TABLE, 1.0).key == FIRST
    with pytest.raises(SecretError, match="revoked"):
        signer.read(secret, KeyTable([SECOND]), 1.0)


def test_a_secret_ends_when_its_api_key_may_make_none_any_more() -> None:
    signer = SecretSigner(OLD)
    secret = signer.mint({}, 60, 0.0, key=FIRST).value
    less = FIRST.model_copy(update={"scopes": frozenset({"calls"})})
    with pytest.raises(SecretError):
        signer.read(secret, KeyTable([less]), 1.0)


def test_a_secret_does_not_show_which_key_made_it() -> None:
    secret = SecretSigner(OLD).mint({}, 60, 0.0, key=FIRST).value
    assert FIRST.id not in secret
    assert FIRST.creator not in secret


def test_two_keys_are_the_most_and_each_has_64_digits() -> None:
    for text in (f"{OLD},{NEW},{OLD}", "abc", OLD[:-1], OLD + "0", "x" * 64):
        with pytest.raises(ValueError, match="ANTIPHON_SECRET_KEYS"):
            SecretSigner(text)


def test_the_file_of_secret_keys_is_read_again_and_half_a_file_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(OLD + "\n")
    signer = SecretSigner("", path)
    secret = signer.mint({}, 60, 0.0, key=FIRST).value
    path.write_text(f"{NEW},{OLD[:10]}")
    signer.look(1.0)
    assert signer.read(secret, TABLE, 1.0).key == FIRST
    path.write_text(NEW)
    signer.look(1.1)
    with pytest.raises(SecretError):
        signer.read(secret, TABLE, 1.0)


@given(st.data())
def test_no_altered_secret_is_valid(data: st.DataObject) -> None:
    signer = SecretSigner(OLD)
    secret = signer.mint({"agent": "echo"}, 60, 0.0, key=FIRST).value
    at = data.draw(st.integers(0, len(secret) - 1))
    letter = data.draw(st.characters())
    forged = secret[:at] + letter + secret[at + 1 :]
    if forged == secret:
        return
    with pytest.raises(SecretError):
        signer.read(forged, TABLE, 1.0)


def test_a_setting_of_audio_is_fixed_by_itself_and_the_others_are_the_holder_s() -> None:
    secret = {"instructions": "fixed", "audio": {"output": {"voice": "fixed"}, "input": {"turn_detection": None}}}
    asked = {"instructions": "mine", "audio": {"output": {"voice": "mine", "speed": 1.2}}, "tools": []}
    assert locked_paths(secret) == ["audio.input.turn_detection", "audio.output.voice", "instructions"]
    assert fixed(asked, secret) == {
        "instructions": "fixed",
        "audio": {"output": {"voice": "fixed", "speed": 1.2}, "input": {"turn_detection": None}},
        "tools": [],
    }
    assert fixed({"audio": "odd"}, secret)["audio"]["output"] == {"voice": "fixed"}
    assert fixed({"a.b": 1}, {"x.y": 2}) == {"a.b": 1, "x.y": 2}


@given(st.text())
def test_no_text_is_a_secret_or_a_key_by_chance(text: str) -> None:
    assert TABLE.find(text, 0.0) is None
    with pytest.raises(SecretError):
        SecretSigner(OLD).read("ek_" + text, TABLE, 0.0)


def test_settings_that_do_not_fit_are_refused() -> None:
    for settings in ({"instructions": "x" * 9000}, {"x" * 65: 1}, {f"a{n}": n for n in range(33)}):
        with pytest.raises(ValueError, match="setting"):
            SecretSigner(OLD).mint(settings, 60, 0.0)
