"""The tools that a client offers to the model: which of them can be used, each by itself. Pure.

Functions are here; MCP servers are in `mcp_tools`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from antiphon.inference_bridge.realtime_protocol.bounds import json_bytes
from antiphon.inference_bridge.realtime_protocol.fields import UnknownField
from antiphon.inference_bridge.realtime_protocol.mcp_tools import MAX_SERVERS, MCP_FIELDS, McpServerTool, mcp_server
from antiphon.inference_bridge.realtime_protocol.values import BadValue, Partly

JsonObject = dict[str, Any]

MAX_TOOLS: Final = 128
MAX_TOOL_BYTES: Final = 16 * 1024
"""Of one tool as JSON."""
MAX_TOOLS_BYTES: Final = 64 * 1024
"""Of all tools together."""
MAX_DESCRIPTION: Final = 8192
"""Characters of a tool's description."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELDS: Final = ("type", "name", "description", "parameters", "strict")
"""`strict`, of a neighbouring protocol, is taken without effect."""
_MAX_UNKNOWN: Final = 3
"""Fields of one tool that are named as unknown."""
_CHOICES: Final = ("auto", "none", "required")


class FunctionTool(BaseModel):
    """A function that the client answers. A value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["function"] = "function"
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(default="", max_length=MAX_DESCRIPTION)
    parameters: JsonObject | None = None

    def shown(self) -> JsonObject:
        """As the client sees it."""
        return self.model_dump(exclude_none=True)


class ToolChoiceFunction(BaseModel):
    """The model must call the function of this name. A value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["function"] = "function"
    name: str = Field(max_length=64)


Tool = FunctionTool | McpServerTool
ToolChoice = Literal["auto", "none", "required"] | ToolChoiceFunction


def tools(value: Any) -> Partly:
    """Those of the list that can be used, in their order; a trouble for each of the others."""
    if not isinstance(value, list):
        raise BadValue("a list is expected", "invalid_type")
    used: list[Tool] = []
    troubles: list[BadValue] = []
    names: set[str] = set()
    whole = 0
    for at, each in enumerate(value):
        if at == MAX_TOOLS:
            troubles.append(BadValue(f"there are {len(value)} tools, at most {MAX_TOOLS} are taken", inside=f"[{at}]"))
            break
        try:
            tool = _tool(each, f"[{at}]", at)
            name = tool.name if isinstance(tool, FunctionTool) else f"mcp {tool.server_label}"
            if name in names:
                where = "name" if isinstance(tool, FunctionTool) else "server_label"
                text = f"another tool of this list has the same {where}"
                raise BadValue(text, inside=f"[{at}].{where}", value=name.removeprefix("mcp "))
            if isinstance(tool, McpServerTool) and sum(isinstance(one, McpServerTool) for one in used) == MAX_SERVERS:
                raise BadValue(f"at most {MAX_SERVERS} MCP servers are taken", inside=f"[{at}]")
            size = json_bytes(tool.model_dump())
            if size > MAX_TOOL_BYTES:
                text = f"the tool {name} has {size} bytes as JSON, at most {MAX_TOOL_BYTES} are taken"
                raise BadValue(text, inside=f"[{at}]")
            if whole + size > MAX_TOOLS_BYTES:
                text = f"with the tool {name} they have {whole + size} bytes as JSON, at most {MAX_TOOLS_BYTES}"
                raise BadValue(f"{text} are taken together", inside=f"[{at}]")
        except BadValue as bad:
            troubles.append(bad)
            continue
        names.add(name)
        whole += size
        used.append(tool)
        known = _FIELDS if isinstance(tool, FunctionTool) else MCP_FIELDS
        strange = [name for name in each if name not in known][:_MAX_UNKNOWN]
        troubles.extend(UnknownField(name, known, f"[{at}].{name}") for name in strange)
    return Partly(tuple(used), tuple(troubles))


def _tool(value: Any, place: str, at: int) -> Tool:
    if not isinstance(value, Mapping):
        raise BadValue("an object is expected", "invalid_type", place, value)
    kind = value.get("type")
    if kind == "mcp":
        return mcp_server(value, place, at)
    if kind not in (None, "function"):
        text = "tools are of the type function or mcp here: what another one does, let a function of the client do"
        raise BadValue(text, inside=f"{place}.type", value=kind)
    name = value.get("name")
    if name is None:
        hint = ": a tool has name, description and parameters at its top" if "function" in value else ""
        raise BadValue(hint, "missing_required_parameter", f"{place}.name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = "1 to 64 letters, digits, underscores and dashes are supported"
        raise BadValue(text, inside=f"{place}.name", value=name)
    description = value.get("description")
    if description is not None and not isinstance(description, str):
        raise BadValue("a text is expected", "invalid_type", f"{place}.description", description)
    if description and len(description) > MAX_DESCRIPTION:
        text = f"it has {len(description)} characters, at most {MAX_DESCRIPTION} are taken"
        raise BadValue(text, inside=f"{place}.description")
    parameters = value.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        text = "a JSON Schema is expected, which is an object"
        raise BadValue(text, "invalid_type", f"{place}.parameters", parameters)
    return FunctionTool(name=name, description=description or "", parameters=parameters)


def tool_choice(value: Any) -> ToolChoice:
    """Which tool the model may or must call, in the shape of today or in that of the first version."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind not in (None, "function"):
            raise BadValue("a tool of the type function can be chosen here", inside=".type", value=kind)
        inner = value.get("function")
        name = inner.get("name") if isinstance(inner, Mapping) else value.get("name")
        if name is None:
            raise BadValue("", "missing_required_parameter", ".name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadValue("the name of a function is expected", inside=".name", value=name)
        return ToolChoiceFunction(name=name)
    if not isinstance(value, str) or value not in _CHOICES:
        shape = '{"type": "function", "name": ...}'
        raise BadValue(f"one of {', '.join(_CHOICES)}, or a function as {shape} is supported")
    return value  # type: ignore[return-value]


def offers(choice: ToolChoice, offered: Sequence[Tool]) -> bool:
    """The function that must be called is among the tools."""
    return isinstance(choice, str) or any(
        isinstance(tool, FunctionTool) and tool.name == choice.name for tool in offered
    )
