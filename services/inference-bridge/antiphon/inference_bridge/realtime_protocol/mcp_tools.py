"""MCP servers that a client names among its tools: read, each by itself, and what of their tools it wants. Pure.

What a client sends as `authorization` and `headers` stays in this process: it is left out wherever a tool is written
down, as in snapshots, leases and `session.updated`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from antiphon.inference_bridge.realtime_protocol.values import BadValue
from antiphon.runtime.tools.definitions import checked_headers

MAX_SERVERS: Final = 4
"""Of one session."""
MAX_NAMES: Final = 128
"""Tools that a filter names."""
MAX_HEADERS: Final = 20
MCP_FIELDS: Final = (
    "type",
    "server_label",
    "server_url",
    "server_description",
    "allowed_tools",
    "require_approval",
    "headers",
    "authorization",
    "allowed_callers",
    "defer_loading",
)
"""The last two mean nothing here, and are taken without effect."""
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TEXT: Final = 2000


class McpServerTool(BaseModel):
    """An MCP server of the client's. A value."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["mcp"] = "mcp"
    server_label: str
    server_url: str
    server_description: str | None = None
    allowed_tools: JsonValue = None
    """A list of names, or an object with `tool_names` and `read_only`; None: all."""
    require_approval: JsonValue = None
    """`always`, `never`, or an object with a filter for each; None is `always`."""
    headers: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)
    """As they are sent, `Authorization` among them. Never written down."""
    has_secrets: bool = False
    """It came with headers: who has it without them can't ask the server."""
    at: int = Field(default=0, exclude=True, repr=False)
    """Its place in the client's list, for errors."""

    def shown(self) -> dict[str, Any]:
        """As the client sees it."""
        return self.model_dump(exclude_none=True, exclude={"has_secrets"})

    @property
    def lacks_secrets(self) -> bool:
        """It was taken over from another process, which has kept its secrets to itself."""
        return self.has_secrets and not self.headers

    def offers(self, name: str, read_only: bool) -> bool:
        """The model is offered this tool of the server."""
        return self.allowed_tools is None or _matches(self.allowed_tools, name, read_only)

    def asks_first(self, name: str, read_only: bool) -> bool:
        """The client is asked before this tool is called: always, unless it has said that it need not be."""
        wanted = self.require_approval
        if isinstance(wanted, dict):
            never, always = wanted.get("never"), wanted.get("always")
            free = never is not None and _matches(never, name, read_only)
            return not free or (always is not None and _matches(always, name, read_only))
        return wanted != "never"


def _matches(wanted: Any, name: str, read_only: bool) -> bool:
    if isinstance(wanted, list):
        return name in wanted
    named = wanted.get("tool_names")
    wants_read_only = wanted.get("read_only")
    return (named is None or name in named) and (wants_read_only is None or wants_read_only is read_only)


def mcp_server(value: Mapping[str, Any], place: str, at: int) -> McpServerTool:
    """One element of `tools` of the type `mcp`; BadValue, which shows no secret, if it can't be used."""
    label, url = value.get("server_label"), value.get("server_url")
    if label is None:
        raise BadValue("", "missing_required_parameter", f"{place}.server_label")
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise BadValue("1 to 32 letters, digits, underscores and dashes are supported", inside=f"{place}.server_label")
    for name in ("connector_id", "tunnel_id"):
        if value.get(name) is not None:
            raise BadValue("it belongs to the hosted service: send a server_url", inside=f"{place}.{name}")
    if url is None:
        raise BadValue("", "missing_required_parameter", f"{place}.server_url")
    if not isinstance(url, str) or len(url) > _TEXT:
        raise BadValue(f"a URL of at most {_TEXT} characters is expected", "invalid_type", f"{place}.server_url")
    description = value.get("server_description")
    if description is not None and (not isinstance(description, str) or len(description) > _TEXT):
        text = f"a text of at most {_TEXT} characters is expected"
        raise BadValue(text, "invalid_type", f"{place}.server_description")
    headers = _headers(value, place)
    return McpServerTool(
        server_label=label,
        server_url=url,
        server_description=description,
        allowed_tools=_filter(value.get("allowed_tools"), f"{place}.allowed_tools", may_be_list=True),
        require_approval=_approval(value.get("require_approval"), f"{place}.require_approval"),
        headers=headers,
        has_secrets=bool(headers),
        at=at,
    )


def _headers(value: Mapping[str, Any], place: str) -> dict[str, str]:
    raw, token = value.get("headers"), value.get("authorization")
    headers: dict[str, str] = {}
    if raw is not None:
        if not isinstance(raw, Mapping) or not all(isinstance(each, str) for each in raw.values()):
            raise BadValue("an object whose values are texts is expected", "invalid_type", f"{place}.headers")
        if len(raw) > MAX_HEADERS:
            raise BadValue(f"there are {len(raw)}, at most {MAX_HEADERS} are taken", inside=f"{place}.headers")
        headers = dict(raw)
    if token is not None:
        if not isinstance(token, str) or not token:
            raise BadValue("a text is expected", "invalid_type", f"{place}.authorization")
        if any(name.lower() == "authorization" for name in headers):
            raise BadValue("headers have one already: send one of both", inside=f"{place}.authorization")
        headers["Authorization"] = f"Bearer {token}"
    try:
        checked_headers(headers)
    except ValueError as error:  # its text shows names, no values
        raise BadValue(str(error), inside=f"{place}.headers") from None
    if any("env:" in each for each in headers.values()):  # which stands for a variable where an operator writes it
        raise BadValue("env: can't be used in the headers of a client", inside=f"{place}.headers")
    return headers


def _filter(value: Any, place: str, may_be_list: bool = False) -> JsonValue:
    if value is None:
        return None
    if isinstance(value, list) and may_be_list:
        return _names(value, place)
    if not isinstance(value, Mapping):
        raise BadValue("a list of names or an object with tool_names or read_only is expected", "invalid_type", place)
    kept: dict[str, JsonValue] = {}
    if (names := value.get("tool_names")) is not None:
        kept["tool_names"] = _names(names, f"{place}.tool_names")
    if (read_only := value.get("read_only")) is not None:
        if not isinstance(read_only, bool):
            raise BadValue("true or false is expected", "invalid_type", f"{place}.read_only")
        kept["read_only"] = read_only
    return kept


def _names(value: Any, place: str) -> JsonValue:
    if not isinstance(value, list) or not all(isinstance(each, str) and len(each) <= 256 for each in value):
        raise BadValue("a list of names is expected", "invalid_type", place)
    if len(value) > MAX_NAMES:
        raise BadValue(f"it has {len(value)} names, at most {MAX_NAMES} are taken", inside=place)
    return list(value)


def _approval(value: Any, place: str) -> JsonValue:
    if value is None or value in ("always", "never"):
        return value if isinstance(value, str) else None
    if not isinstance(value, Mapping):
        raise BadValue("always, never, or an object with a filter for each is expected", inside=place)
    given = {name: _filter(value[name], f"{place}.{name}") for name in ("always", "never") if value.get(name)}
    return {name: each for name, each in given.items() if each is not None}


def without_secrets(session: Any) -> Any:
    """A client's session without the secrets of its MCP servers, for whatever is kept or passed on."""
    tools = session.get("tools") if isinstance(session, Mapping) else None
    if not isinstance(tools, list) or not any(
        isinstance(tool, Mapping) and tool.get("type") == "mcp" for tool in tools
    ):
        return session
    return {**session, "tools": [_without_secrets(tool) for tool in tools]}


def _without_secrets(tool: Any) -> Any:
    if not isinstance(tool, Mapping) or tool.get("type") != "mcp":
        return tool
    return {name: value for name, value in tool.items() if name not in ("headers", "authorization")}
