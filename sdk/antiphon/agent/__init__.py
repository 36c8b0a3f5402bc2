"""What an agent plug-in imports: `Agent`, the `Session` its function gets, the events, and speech.

agent = Agent("echo")

@agent.session
async def talk(session: Session) -> None:
    async for event in session.events():
        ...

agent.run()
"""

from antiphon.agent.agent import Agent
from antiphon.agent.events import (
    AudioLevel,
    ChannelClosed,
    ChannelOpened,
    Connected,
    DataReceived,
    DirectionChanged,
    Draining,
    Ended,
    Event,
    Flushed,
    Lagged,
    MediaStarted,
    Playout,
    PlayoutOverflow,
    SessionError,
    SpeechStarted,
    SpeechStopped,
    Statistics,
    Suspect,
    TakenOver,
    TelephoneEvent,
    TextTyped,
    ToolFailed,
    ToolResult,
    TransferFailed,
    Transferred,
)
from antiphon.agent.playback import Played
from antiphon.agent.session import Session
from antiphon.agent.shadow_session import ShadowSession
from antiphon.agent.speech import Speech
from antiphon.agent.tools import ToolError
from antiphon.runtime.agent_sessions.played_text import Word
from antiphon.runtime.tools.definitions import HttpTool, McpServer
from antiphon.schemas.audio import AudioFrame, FrameFlag

__all__ = [
    "Agent",
    "AudioFrame",
    "AudioLevel",
    "ChannelClosed",
    "ChannelOpened",
    "Connected",
    "DataReceived",
    "DirectionChanged",
    "Draining",
    "Ended",
    "Event",
    "Flushed",
    "FrameFlag",
    "HttpTool",
    "Lagged",
    "McpServer",
    "MediaStarted",
    "Played",
    "Playout",
    "PlayoutOverflow",
    "Session",
    "SessionError",
    "ShadowSession",
    "Speech",
    "SpeechStarted",
    "SpeechStopped",
    "Statistics",
    "Suspect",
    "TakenOver",
    "TelephoneEvent",
    "TextTyped",
    "ToolError",
    "ToolFailed",
    "ToolResult",
    "TransferFailed",
    "Transferred",
    "Word",
]
