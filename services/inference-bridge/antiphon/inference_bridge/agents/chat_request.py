"""A request to `chat/completions` as JSON, in the way that the server at hand wants to be asked. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from antiphon.inference_bridge.agents import Request
from antiphon.inference_bridge.agents.chat_history import MAX_HISTORY, chat_messages
from antiphon.inference_bridge.agents.server_habits import ServerHabits
from antiphon.inference_bridge.languages import primary

_NAMES: Final = {
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "ru": "Russian",
    "uk": "Ukrainian",
    "tr": "Turkish",
    "sv": "Swedish",
    "da": "Danish",
    "nb": "Norwegian",
    "no": "Norwegian",
    "fi": "Finnish",
    "cs": "Czech",
    "sk": "Slovak",
    "hu": "Hungarian",
    "ro": "Romanian",
    "el": "Greek",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Hindi",
    "ja": "Japanese",
    "ko": "Korean",
    "zh": "Chinese",
    "ca": "Catalan",
}


_NONE: Final[Mapping[str, Any]] = {}


def question(
    request: Request, model: str, habits: ServerHabits, parameters: Mapping[str, Any] = _NONE
) -> dict[str, Any]:
    """The body of the request. `parameters`: the agent's own fields; the request's bound of tokens comes first."""
    wants_none = request.tool_choice == "none"  # models that are shown functions call them all the same
    tools = [] if wants_none else [_tool(tool) for tool in request.tools]
    items = request.items[-max(4, MAX_HISTORY >> habits.half_history) :]
    body: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(
            items, _system(request, habits), request.already_spoken, habits.short_ids, habits.no_system
        ),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in parameters.items() if name != "max_tokens"},
    }
    most = request.max_output_tokens
    if most is None:
        most = parameters.get("max_tokens")
    if most is not None:
        body[habits.limit] = most
    if tools:
        body["tools"] = tools
        choice = request.tool_choice
        body["tool_choice"] = (
            {"type": "function", "function": {"name": choice.get("name")}} if isinstance(choice, dict) else choice
        )
    return {name: value for name, value in body.items() if name not in habits.without}


def _system(request: Request, habits: ServerHabits) -> str:
    lines = [request.instructions, f"It is {request.now:%A, %d %B %Y, %H:%M}."]
    if request.language and (language := primary(request.language)) != "en":
        lines.append(f"The caller speaks {_NAMES.get(language, f'the language {language}')}: answer in it.")
    if request.tools and "tools" in habits.without and request.tool_choice != "none":
        functions = json.dumps([_tool(tool)["function"] for tool in request.tools], ensure_ascii=False)
        lines.append(
            f"You can call these functions: {functions}\nTo call one, answer with nothing but JSON of this form: "
            '{"name": "...", "arguments": {...}}'
        )
    return "\n".join(filter(None, lines))


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "description", "parameters")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name)}}
