"""The test kit of agents: calls in virtual time without speech models, simulated callers, a judge, scenario files.

`pytest_plugin` gives tests the fixture `conversation`; `antiphon test` runs files of scenarios.
"""

from antiphon.agent.testing.answer import Answer, ToolCall
from antiphon.agent.testing.chat_model import ChatModel
from antiphon.agent.testing.conversation import Conversation
from antiphon.agent.testing.judge import Judge, Verdict
from antiphon.agent.testing.scenario import Scenario, read_scenarios, run_scenario
from antiphon.agent.testing.simulated_caller import SimulatedCaller
from antiphon.agent.testing.virtual_clock import VirtualClockLoop

__all__ = [
    "Answer",
    "ChatModel",
    "Conversation",
    "Judge",
    "Scenario",
    "SimulatedCaller",
    "ToolCall",
    "Verdict",
    "VirtualClockLoop",
    "read_scenarios",
    "run_scenario",
]
