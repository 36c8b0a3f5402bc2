"""What the settings of a bridge come to, where one depends on another."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.settings import Settings

MODEL = {"ANTIPHON_LLM_URL": "http://127.0.0.1:11434/v1", "ANTIPHON_LLM_MODEL": "tiny"}


@pytest.mark.parametrize(
    ("variables", "greeting"),
    [
        ({}, "Hello, this is the Riverside Clinic. How can I help you?"),
        (MODEL, "Hello, how can I help you?"),
        ({"ANTIPHON_LLM": "remote"}, "Hello, how can I help you?"),
        ({**MODEL, "ANTIPHON_GREETING": ""}, "Hello, how can I help you?"),
        ({**MODEL, "ANTIPHON_GREETING": " Welcome. "}, "Welcome."),
        ({"ANTIPHON_GREETING": "Welcome."}, "Welcome."),
        ({**MODEL, "ANTIPHON_GREETING": "None"}, ""),
        ({"ANTIPHON_GREETING": "none"}, ""),
    ],
)
def test_the_demo_clinic_greets_for_the_concierge_alone(
    variables: dict[str, str], greeting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTIPHON_LLM_URL", "ANTIPHON_LLM_MODEL", "ANTIPHON_LLM", "ANTIPHON_GREETING"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().greeting_text == greeting


def test_what_a_model_is_told_by_default_is_of_no_clinic() -> None:
    assert "clinic" not in Settings.model_fields["llm_instructions"].default.lower()
