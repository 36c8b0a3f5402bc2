"""Names of spans and of their attributes: the one place that has them.

Those of agents and models follow the drafts for voice agents of the OpenTelemetry semantic conventions for generative
AI (`DRAFT`); `messaging.*` follows the conventions for messaging. There is no convention for WebRTC: `antiphon.*` is
ours. docs/tracing.md lists all.
"""

from __future__ import annotations

from typing import Final

DRAFT: Final = "semantic-conventions-genai 390, 394"
"""The drafts that the names below follow; they may still change."""

# ---- spans ---------------------------------------------------------------------------------------------

CALL: Final = "call"
"""From the offer to the end: the root of all others of a call. Its owner ends it."""
OFFER: Final = "offer"
"""Signaling: one HTTP request with an offer."""
PLACE: Final = "place"
"""Signaling: one transceiver is asked."""
OPEN: Final = "open"
"""Transceiver: from the request to the answer."""
CLAIM: Final = "claim"
"""An agent is asked, and accepts."""
ICE: Final = "ice"
DTLS: Final = "dtls"
FIRST_PACKET: Final = "first_packet"
"""Transceiver: from the answer to the client's first packet through a relay."""
FIRST_AUDIO_IN: Final = "first_audio_in"
FIRST_AUDIO_OUT: Final = "first_audio_out"
TAKE_OVER: Final = "take_over"
"""Another process goes on with the call."""
RESTART_ICE: Final = "restart_ice"
HANG_UP: Final = "hang_up"
INVOKE_AGENT: Final = "invoke_agent"
"""One turn; the agent's name stands behind it, as the draft has it."""
EXECUTE_TOOL: Final = "execute_tool"
"""The tool's name stands behind it."""
SPEECH_TO_TEXT: Final = "speech_to_text"
"""The model's name stands behind it, as in the two below."""
CHAT: Final = "chat"
TEXT_TO_SPEECH: Final = "text_to_speech"
INTERRUPTION: Final = "interruption"

# ---- attributes ----------------------------------------------------------------------------------------

SESSION_ID: Final = "session.id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
"""Both hold the call's id, on every span of a call."""
AGENT_NAME: Final = "gen_ai.agent.name"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
VOICE: Final = "gen_ai.speech.voice"
INPUT_LANGUAGE: Final = "gen_ai.speech.input.language"
OUTPUT_TYPE: Final = "gen_ai.output.type"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
END_REASON: Final = "gen_ai.agent.invocation.end_reason"
"""`completed`, `interrupted` or `session_closed`."""
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.template"
OWNED_BY: Final = "antiphon.owned_by"
"""What the time of a span is to be blamed on: `service`, `setting`, `agent`, `model`, `network` or `client`."""
PART: Final = "antiphon.turn.part"
"""Which of `messages.TURN_PARTS` a span is."""
RELAY: Final = "antiphon.relay"
PATH: Final = "antiphon.path"
SLOT: Final = "antiphon.slot"
CALL_REASON: Final = "antiphon.call.reason"
"""Why the call ended."""
