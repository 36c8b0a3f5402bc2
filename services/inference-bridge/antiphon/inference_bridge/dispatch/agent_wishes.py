"""What an agent wants of a call's settings where the client names nothing, of what the speech models can do. Pure."""

from __future__ import annotations

from typing import Any

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings, first_settings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport


def wishes_of(profile: AgentProfile, support: SpeechSupport) -> tuple[SessionSettings, tuple[str, ...]]:
    """The settings that a call of this agent begins with, and why each wish that can't be had is the bridge's own.

    The agent's instructions are no setting: a client that sets none is shown them, and one that does replaces them.
    """
    given: dict[str, Any] = {}
    if profile.language:
        given["transcription"] = {"language": profile.language}
    if profile.turn_detection is not None:
        given["turn_detection"] = profile.turn_detection
    output = {"voice": profile.voice} if profile.voice else {}
    settings, refused = first_settings({"audio": {"input": given, "output": output}}, support)
    return settings, tuple(str(error) for error in refused)
