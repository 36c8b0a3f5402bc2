"""What all sessions of a process share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nats.aio.client import Client

from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.turn_spans import ModelNames
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.turns.turn_settings import TurnSettings


@dataclass(frozen=True)
class Services:
    """What a session uses of its process."""

    client: Client
    speech: Speech
    vad_executor: ThreadPoolExecutor
    turn_settings: TurnSettings
    """Where the client asks for nothing else."""
    support: SpeechSupport
    """Languages and voices that a session may ask for."""
    idle: float
    """Seconds without any frame or event after which a session is dropped: its transceiver is gone."""
    save: Callable[[str, str, JsonObject], None]
    """`save(agent, session_id, state)` keeps what another process needs to continue a session."""
    verify: Callable[[str, str], None]
    """`verify(agent, session_id)`: another instance seems to act for it; see whether its lease is still ours."""
    instance: str
    """Our name among the processes of each agent."""
    patience_ms: int = 0
    """Time after which a caller whose answer is late gets a spoken sign, unless the agent wants another; 0: never."""
    end_of_turn: EndOfTurn | None = None
    """Judges by the voice whether a turn is over, where the operator wants that."""
    cancels_echo: bool = True
    """The agent's own voice is taken out of the caller's audio."""
    model_names: ModelNames = field(default_factory=ModelNames)
    """For spans."""
    has_room: Callable[[], bool] = lambda: False
    """A transcription could begin at once."""
