"""Webhooks without a network: signatures, when an attempt is repeated, settings, and what a full stream has lost."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from antiphon.schemas import messages
from antiphon.signaling.settings import load
from antiphon.signaling.webhooks.attempts import Gaps, judge
from antiphon.signaling.webhooks.signature import body_of, headers_of, read_secrets

pytestmark = pytest.mark.pure

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCS = Path(__file__).parents[2] / "docs" / "webhooks.md"
CALL = messages.CallSummary(session_id="rtc_1", agent="a", state="ended", began=1.7e9)
ENDED = messages.Webhook(id="rtc_1_ended", type="call.ended", at=1.7e9, call=CALL, reason="hang_up", cause="bye")


def test_the_signature_is_that_of_the_specification_s_example() -> None:
    body = b'{"test": 2432232314}'
    headers = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", body, read_secrets(SECRET), 1614265330.7)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_while_a_secret_is_changed_both_sign() -> None:
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    headers = headers_of("a", b"{}", read_secrets(f"{other}, {SECRET}\n"), 1.0)
    old = headers_of("a", b"{}", read_secrets(SECRET), 1.0)
    assert old["webhook-signature"] in headers["webhook-signature"].split(" ")
    assert len(headers["webhook-signature"].split(" ")) == 2


def test_the_verifier_of_the_documentation_takes_ours_and_nothing_else() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 15
    names: dict[str, Any] = {}
    exec(code, names)
    body = body_of(ENDED)
    headers = headers_of(ENDED.id, body, read_secrets(SECRET), 1000.0)
    verify = names["verify"]
    assert verify(SECRET, headers, body, now=1010.0)["type"] == "call.ended"
    for wrong in (
        (SECRET, headers, body + b" ", 1010.0),
        (SECRET, headers, body, 1400.0),
        (SECRET, {**headers, "webhook-id": "other"}, body, 1010.0),
        ("whsec_" + "A" * 32, headers, body, 1010.0),
    ):
        with pytest.raises(ValueError, match="webhook"):
            verify(*wrong[:3], now=wrong[3])


def test_a_body_says_what_happened_to_which_call() -> None:
    body = json.loads(body_of(ENDED))
    assert (body["type"], body["timestamp"]) == ("call.ended", "2023-11-14T22:13:20.000Z")
    assert (body["data"]["call"]["session_id"], body["data"]["reason"], body["data"]["cause"]) == (
        "rtc_1",
        "hang_up",
        "bye",
    )
    assert body_of(ENDED) == body_of(ENDED)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_each_2xx_is_a_success(status: int) -> None:
    assert judge(status, 1, 0, 3600, None).result == "delivered"


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_all_else_is_repeated_later_and_later_until_the_time_is_over(status: int | None) -> None:
    delays = [judge(status, attempt, 0, 3600, None).delay for attempt in (1, 4, 8, 50)]
    assert 0.5 <= delays[0] <= 1
    assert 4 <= delays[1] <= 8
    assert all(30 <= each <= 60 for each in delays[2:])
    assert judge(status, 9, 3600, 3600, None).result == "failed"


def test_an_endpoint_may_ask_for_more_time_and_for_an_end() -> None:
    assert judge(429, 1, 0, 3600, 120).delay == 120
    assert judge(429, 1, 0, 3600, 1e6).delay == 300
    assert judge(410, 1, 0, 3600, None).result == "failed"


def test_what_the_full_stream_has_dropped_is_counted_from_the_numbers() -> None:
    gaps = Gaps()
    for delivery, number in ((7, 20), (8, 21), (9, 100), (10, 21), (11, 101), (20, 500), (21, 501)):
        gaps.delivered(delivery, number)
    assert gaps.dropped == 78


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"URL": "https://example.org/x"}, "WEBHOOK_SECRET"),
        ({"URL": "http://example.org/x", "SECRET": SECRET}, "ANTIPHON_WEBHOOK_ALLOW_HTTP"),
        ({"URL": "ftp://example.org", "SECRET": SECRET}, "https://host"),
        ({"URL": "example.org", "SECRET": SECRET}, "https://host"),
        ({"URL": "https://example.org/", "SECRET": "topsecret"}, "openssl"),
        ({"URL": "https://example.org/", "SECRET": f"{SECRET},{SECRET},{SECRET}"}, "3 secrets"),
        ({"URL": ",".join(f"https://example.org/{n}" for n in range(9)), "SECRET": SECRET}, "at most 8"),
        ({"URL": "https://example.org/", "SECRET_FILE": "/nowhere/at/all"}, "can't be read"),
    ],
)
def test_settings_that_can_t_be_used_are_named_without_the_secret(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"ANTIPHON_WEBHOOK_{name}", value)
    with pytest.raises(ValueError, match=said) as refused:
        load()
    assert "topsecret" not in str(refused.value)
    assert "MfKQ" not in str(refused.value)


def test_a_secret_from_a_file_and_http_to_this_machine_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("ANTIPHON_WEBHOOK_URL", "http://127.0.0.1:9/x, https://example.org/y")
    monkeypatch.setenv("ANTIPHON_WEBHOOK_SECRET_FILE", str(tmp_path / "secret"))
    settings = load()
    assert settings.webhook_urls() == ["http://127.0.0.1:9/x", "https://example.org/y"]
    assert settings.webhook_keys() == read_secrets(SECRET)
