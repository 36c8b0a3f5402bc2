"""Text agents: `TextAgent`, the `Turn` that its function gets, and the actions that it may yield besides text.

`answer` makes the parts of one answer and needs no connection, `instance` sends them; `text_agent` is the author's
side of both.
"""

from antiphon.agent.text.actions import (
    Action,
    Ask,
    CallTool,
    HangUp,
    Pause,
    Person,
    Retract,
    Say,
    Transfer,
    Usage,
)
from antiphon.agent.text.text_agent import TextAgent
from antiphon.agent.text.turn import Turn

__all__ = [
    "Action",
    "Ask",
    "CallTool",
    "HangUp",
    "Pause",
    "Person",
    "Retract",
    "Say",
    "TextAgent",
    "Transfer",
    "Turn",
    "Usage",
]
