"""Keys and `ek_` secrets, without any server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.signaling.auth.credentials import Credentials, SecretError

pytestmark = pytest.mark.pure

KEY = "sk-0123456789abcdef"


def test_a_secret_carries_its_settings_to_any_replica_with_the_key() -> None:
    settings = {"agent": "echo", "voice": "ü"}
    secret = Credentials([KEY]).mint(settings, 60, now=1000.0)
    assert secret.value.startswith("ek_")
    assert secret.expires_at == 1060
    assert Credentials([KEY]).settings_of(secret.value, now=1059.9) == settings


def test_a_secret_ends_at_its_time() -> None:
    credentials = Credentials([KEY])
    secret = credentials.mint({}, 60, now=1000.0)
    with pytest.raises(SecretError) as caught:
        credentials.settings_of(secret.value, now=1060.0)
    assert caught.value.code == "expired_secret"


def test_a_secret_lives_through_key_rotation_and_ends_with_its_key() -> None:
    secret = Credentials(["old"]).mint({}, 60, now=0.0).value
    assert Credentials(["new", "old"]).settings_of(secret, now=1.0) == {}
    with pytest.raises(SecretError):
        Credentials(["new"]).settings_of(secret, now=1.0)


@given(st.data())
def test_no_altered_secret_is_valid(data: st.DataObject) -> None:
    credentials = Credentials([KEY])
    secret = credentials.mint({"agent": "echo"}, 60, now=0.0).value
    at = data.draw(st.integers(0, len(secret) - 1))
    letter = data.draw(st.characters())
    forged = secret[:at] + letter + secret[at + 1 :]
    if forged == secret:
        return
    with pytest.raises(SecretError):
        credentials.settings_of(forged, now=1.0)


@given(st.text())
def test_no_text_is_a_secret_or_a_key_by_chance(text: str) -> None:
    credentials = Credentials([KEY])
    assert not credentials.is_api_key(text)
    with pytest.raises(SecretError):
        credentials.settings_of("ek_" + text, now=0.0)


def test_every_key_counts_and_nothing_else() -> None:
    credentials = Credentials(["a", "b"])
    assert credentials.is_api_key("a")
    assert credentials.is_api_key("b")
    assert not credentials.is_api_key("")
    assert not Credentials([]).is_api_key("")


def test_settings_that_do_not_fit_a_header_are_refused() -> None:
    with pytest.raises(ValueError, match="session settings"):
        Credentials([KEY]).mint({"instructions": "x" * 9000}, 60, now=0.0)
