"""What an agent plug-in imports: `TextAgent` and `Turn` for text; `Agent`, `Session`, events and speech for audio.

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
    PersonAsked,
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
from antiphon.agent.text import (
    Action,
    Ask,
    CallTool,
    HangUp,
    Pause,
    Person,
    Retract,
    Say,
    TextAgent,
    Transfer,
    Turn,
    Usage,
)
from antiphon.agent.tools import ToolError
from antiphon.runtime.agent_sessions.played_text import Word
from antiphon.runtime.tools.definitions import HttpTool, McpServer
from antiphon.schemas.audio import AudioFrame, FrameFlag
from antiphon.schemas.messages.replies import ReplyLimits

__all__ = [
    "Action",
    "Agent",
    "Ask",
    "AudioFrame",
    "AudioLevel",
    "CallTool",
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
    "HangUp",
    "HttpTool",
    "Lagged",
    "McpServer",
    "MediaStarted",
    "Pause",
    "Person",
    "PersonAsked",
    "Played",
    "Playout",
    "PlayoutOverflow",
    "ReplyLimits",
    "Retract",
    "Say",
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
    "TextAgent",
    "TextTyped",
    "ToolError",
    "ToolFailed",
    "ToolResult",
    "Transfer",
    "TransferFailed",
    "Transferred",
    "Turn",
    "Usage",
    "Word",
]
