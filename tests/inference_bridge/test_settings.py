"""What the settings of a bridge come to, where one depends on another."""

from __future__ import annotations

import re

import pytest

from antiphon.inference_bridge.agents.scripted import (
    NEUTRAL_GREETING,
    AgentNameError,
    SilentAgent,
    greeting_of,
    load_agent_class,
)
from antiphon.inference_bridge.settings import Settings

pytestmark = pytest.mark.pure

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
    settings = Settings()
    clinic = greeting_of(load_agent_class("antiphon.demo.concierge.scripted.Concierge"))
    of_agent = NEUTRAL_GREETING if settings.has_language_model else clinic
    assert settings.greeting_text(of_agent) == greeting


def test_an_agent_without_a_greeting_greets_neutrally() -> None:
    assert greeting_of(SilentAgent) == NEUTRAL_GREETING


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Concierge",
        "no.such.module.Agent",
        "antiphon.demo.concierge.scripted.Nobody",
        "antiphon.demo.__doc__",
        "..a",
    ],
)
def test_a_name_of_no_agent_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(AgentNameError, match=re.escape(f"ANTIPHON_SCRIPTED_AGENT is {name!r}")):
        load_agent_class(name)


def test_what_a_model_is_told_by_default_is_of_no_clinic() -> None:
    assert "clinic" not in Settings.model_fields["llm_instructions"].default.lower()
