"""Arguments of a model's call: JSON, read and checked against the tool's schema. Pure.

A schema may come from a stranger, as those of MCP servers do: nothing is fetched for it, and its patterns can't take
long (a limit on the steps of each match).
"""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of one call's arguments."""
_MAX_ERROR: Final = 300
_PATTERNS: Final = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000)


class ArgumentsError(ValueError):
    """They don't fit; the text is for the model."""


class SchemaError(ValueError):
    """No arguments can be checked against this schema; the text says why."""


class ArgumentsSchema:
    """A tool's schema, made ready. Owned by the tool, for its life; used on the event loop."""

    def __init__(self, schema: dict[str, Any]) -> None:
        """`SchemaError` if it is no JSON Schema, or refers to another document."""
        try:
            self._validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
        except (ValueError, TypeError, RecursionError) as error:
            raise SchemaError(f"parameters are no JSON Schema: {_first_line(error)}") from None

    def read(self, arguments: str) -> dict[str, Any]:
        """The arguments; `ArgumentsError` if they are no JSON object or don't fit the schema."""
        if len(arguments) > MAX_ARGUMENTS:
            raise ArgumentsError(f"the arguments have {len(arguments)} characters, at most {MAX_ARGUMENTS} are taken")
        try:
            value = json.loads(arguments.strip() or "{}")
        except (ValueError, RecursionError) as error:
            raise ArgumentsError(f"the arguments are no JSON: {error}") from None
        if not isinstance(value, dict):
            raise ArgumentsError("the arguments are a JSON object, with a value for each name")
        try:
            wrong = next(iter(self._validator.iter_errors(value)), None)
        except (ValueError, RecursionError) as failure:
            raise ArgumentsError(f"the arguments can't be checked: {_first_line(failure)}") from None
        if wrong is not None:
            where = ".".join(str(each) for each in wrong.instance_path) or "the arguments"
            raise ArgumentsError(f"{where}: {wrong.message:.{_MAX_ERROR}}")
        return value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:_MAX_ERROR]
