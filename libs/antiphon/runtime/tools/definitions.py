"""What an operator writes down of tools: an HTTP request with a JSON Schema, or an MCP server. Values, checked. Pure.

Nothing here connects or reads the environment but `secret`, which is called where a tool set is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_DESCRIPTION: Final = 8192
"""Characters: as many as the realtime protocol takes of a function."""
PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
"""Of an argument in a URL."""
_NAME: Final = r"^[A-Za-z0-9_-]{1,64}$"
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET: Final = re.compile(r"(?P<before>(?:[A-Za-z]+ )?)env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_NOT_TO_SET: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
"""Headers that the client itself writes."""
_WITHOUT_BODY: Final = ("GET", "DELETE")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class ToolDefinitionError(ValueError):
    """A tool can't be used as it is written down; the text names the tool, the value and the way out."""


def no_arguments() -> dict[str, Any]:
    """The schema of a tool without arguments."""
    return {"type": "object", "properties": {}}


class _Definition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpTool(_Definition):
    """One HTTP request that a language model may have made. A value.

    Arguments that the URL names are put into it, percent-encoded; the others go into the body or the query. Scheme,
    host and port are fixed.
    """

    name: str = Field(pattern=_NAME)
    """As the model calls it: 1 to 64 letters, digits, underscores and dashes."""
    description: str = Field(default="", max_length=MAX_DESCRIPTION)
    """What the model is told of it."""
    parameters: dict[str, Any] = Field(default_factory=no_arguments)
    """JSON Schema of the arguments, an object."""
    method: Method = "GET"
    """One that changes nothing may be sent again: see `retries`."""
    url: str
    """With `{argument}` in its path or query."""
    headers: dict[str, str] = Field(default_factory=dict)
    """A value may be `env:NAME`, also behind one word: `Bearer env:NAME`."""
    body: Literal["json", "query"] | None = None
    """Where arguments go that the URL does not name; None: the query for GET and DELETE, JSON for others."""
    timeout: float = Field(default=10.0, gt=0, le=120)
    """Seconds for the whole call, with all its retries."""
    retries: int = Field(default=2, ge=0, le=5)
    """After the statuses 429, 502, 503, 504 and failures of the connection: for GET, PUT and DELETE."""
    retry_unsafe: bool = False
    """For POST and PATCH as well: the other side must bear a request that comes twice."""

    @field_validator("parameters")
    @classmethod
    def _is_object(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("type", "object") != "object":
            raise ValueError(f"the arguments of a tool are an object: its type is {value['type']!r:.40}")
        if not isinstance(value.get("properties", {}), dict):
            raise ValueError("properties of a JSON Schema are an object")
        return {"type": "object", **value}

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        return checked_headers(value)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        parts = checked_url(self.url)
        named = PLACEHOLDER.findall(self.url)
        if PLACEHOLDER.search(f"{parts.scheme}://{parts.netloc}"):
            raise ValueError(f"url {self.url!r:.80}: an argument can't be part of the host: write the host out")
        if "{" in PLACEHOLDER.sub("", self.url) or "}" in PLACEHOLDER.sub("", self.url):
            raise ValueError(f"url {self.url!r:.80}: a brace that belongs to no {{argument}}: write %7B or %7D for it")
        properties, required = self.parameters.get("properties", {}), self.parameters.get("required", [])
        for name in named:
            if name not in properties:
                known = ", ".join(properties) or "none"
                raise ValueError(f"url {self.url!r:.80}: {{{name}}} is no property of parameters; there are: {known}")
            if name not in required:
                raise ValueError(f"url {self.url!r:.80}: {{{name}}} may be missing: put it into parameters.required")
        if self.body == "json" and self.method in _WITHOUT_BODY:
            raise ValueError(f"a {self.method} has no body: body = 'query', or another method")
        return self

    @property
    def repeats(self) -> bool:
        """It may be sent again when it is not known whether it has arrived."""
        return self.method in ("GET", "PUT", "DELETE") or self.retry_unsafe


class McpServer(_Definition):
    """An MCP server whose tools a language model may call: a command (stdio) or a URL (streamable HTTP). A value."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    """For logs, and in front of a tool's name that two servers have."""
    command: str = Field(default="", max_length=4096)
    """A program, found by PATH; no shell reads it."""
    args: tuple[str, ...] = Field(default=(), max_length=100)
    """Of the command."""
    env: dict[str, str] = Field(default_factory=dict)
    """Beside PATH, HOME, LANG, USER and the like. A value may be `env:NAME`. Nothing else of our environment."""
    url: str = ""
    """Of a server of streamable HTTP, such as https://tools.example.com/mcp."""
    headers: dict[str, str] = Field(default_factory=dict)
    """As those of an `HttpTool`."""
    allow: tuple[str, ...] | None = Field(default=None, max_length=128)
    """The tools that are offered, as the server names them; None: all."""
    timeout: float = Field(default=30.0, gt=0, le=300)
    """Seconds for one call."""

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        return checked_headers(value)

    @field_validator("env")
    @classmethod
    def _are_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in content:
                raise ValueError(f"{name!r:.60} can't be a variable of the environment")
        return value

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError(f"MCP server {self.name}: it needs either a command or a url")
        if self.command and self.headers:
            raise ValueError(f"MCP server {self.name}: headers belong to a url; a command has env")
        if self.url and (self.args or self.env):
            raise ValueError(f"MCP server {self.name}: args and env belong to a command; a url has headers")
        if self.url:
            checked_url(self.url)
        if any("\0" in each for each in (self.command, *self.args)):
            raise ValueError(f"MCP server {self.name}: a zero byte can't be part of a command")
        return self


def checked_url(url: str) -> Any:
    """Its parts; ValueError if it can't be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url {url!r:.80}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"url {url!r:.80}: expected one such as https://api.example.com/orders/{{id}}")
    if "@" in parts.netloc:
        raise ValueError("url: a name or password in it would be logged: use headers, with env:NAME")
    if parts.fragment or url.endswith("#"):
        raise ValueError(f"url {url!r:.80}: what is behind # is never sent")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
        raise ValueError(f"url {url!r:.80}: it has a blank, a control character or a backslash: encode it")
    return parts


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers; ValueError for one that can't be sent, or that the client writes itself."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r:.60} can't be the name of a header")
        if name.lower() in _NOT_TO_SET:
            raise ValueError(f"header {name} is written by the client itself: leave it out")
        checked_header_value(name, value)
    return dict(headers)


def checked_header_value(name: str, value: str) -> str:
    """The value; ValueError, which does not show it, if it can't be sent."""
    if len(value) > 8192 or any(ord(each) < 32 or ord(each) > 126 for each in value):
        raise ValueError(f"header {name}: its value is no line of at most 8192 ASCII characters")
    return value


def secret(value: str, environ: Mapping[str, str], where: str) -> str:
    """A value with what `env:NAME` stands for; `ToolDefinitionError`, which names `where`, if there is no NAME."""
    match = _SECRET.fullmatch(value)
    if match is None:
        return value
    found = environ.get(match["name"], "").strip()
    if not found:
        raise ToolDefinitionError(f"{where}: the environment has no {match['name']}: set it, or write the value")
    return match["before"] + found


def secret_env(server: McpServer, environ: Mapping[str, str]) -> dict[str, str]:
    """A server's variables as its child gets them; ToolDefinitionError as in `secret`."""
    where = f"MCP server {server.name}"
    return {name: secret(value, environ, f"{where}: {name}") for name, value in server.env.items()}


def secret_headers(headers: Mapping[str, str], environ: Mapping[str, str], where: str) -> dict[str, str]:
    """All headers as they are sent; ToolDefinitionError as in `secret`."""
    found = {name: secret(value, environ, f"{where}: header {name}") for name, value in headers.items()}
    try:
        return checked_headers(found)
    except ValueError as error:
        raise ToolDefinitionError(f"{where}: {error}") from None
