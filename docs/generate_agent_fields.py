"""Writes the table of fields into docs/agents.files.md from `antiphon.inference_bridge.file_agents.definition`.

`make reference` runs it; `tests/inference_bridge/test_agent_files.py` compares the committed page with what it writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from antiphon.inference_bridge.file_agents.definition import AgentDefinition

PAGE: Final = Path(__file__).with_name("agents.files.md")
BEGIN: Final = "<!-- fields: written by docs/generate_agent_fields.py -->\n"
END: Final = "<!-- end of fields -->\n"
OF_THE_PROTOCOL: Final = {
    "type": "Which of the two; where it is missing, `semantic_vad` if there is `eagerness`.",
    "threshold": "How likely a window of sound must be speech.",
    "prefix_padding_ms": "Sound that is kept from before the speech.",
    "silence_duration_ms": "Silence that ends a turn.",
    "idle_timeout_ms": "Silence of the caller after which the agent asks whether it is still there.",
    "eagerness": "How soon a turn ends whose words sound complete.",
    "create_response": "A turn is answered without the client's asking.",
    "interrupt_response": "The caller interrupts the agent by speaking.",
}
"""Fields that the realtime protocol has, too: `inference-bridge.protocol.md`."""


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


def table() -> str:
    """All fields as Markdown."""
    schema = AgentDefinition.model_json_schema()
    rows = list(_rows(schema, schema, ""))
    return "| field | what it may be | default | what |\n|---|---|---|---|\n" + "".join(
        f"| {' | '.join(row)} |\n" for row in dict.fromkeys(rows)
    )


def _rows(schema: dict[str, Any], part: dict[str, Any], above: str) -> Any:
    required = part.get("required", [])
    for name, field in part["properties"].items():
        inner = [each for each in _choices(schema, field) if "properties" in each]
        path = f"{above}{name}"
        if name == "tools":
            continue  # its own section
        if inner:
            yield f"**`[{path}]`**", "", "", _words(field.get("description", ""))
            for each in inner:
                of = f" ({each['properties']['type']['const']})" if len(inner) > 1 else ""
                for row in _rows(schema, each, f"{path}."):
                    both = all(row[0].strip("`").rpartition(".")[2] in other["properties"] for other in inner)
                    yield (row[0] + ("" if both else of), *row[1:]) if "type`" not in row[0] else _type(row, inner)
            continue
        default = "needed" if name in required else _default(field.get("default"))
        yield f"`{path}`", _kind(schema, field), default, _words(_what(name, field))


def _type(row: tuple[str, ...], inner: list[dict[str, Any]]) -> tuple[str, ...]:
    kinds = ", ".join(f"`{each['properties']['type']['const']}`" for each in inner)
    return row[0], kinds, "`server_vad`", row[3]


def _what(name: str, field: dict[str, Any]) -> str:
    return str(field.get("description") or OF_THE_PROTOCOL[name])


def _choices(schema: dict[str, Any], field: dict[str, Any]) -> list[dict[str, Any]]:
    """What a field may be, without null, references followed."""
    if "$ref" in field:
        return _choices(schema, schema["$defs"][field["$ref"].rpartition("/")[2]])
    either = field.get("anyOf") or field.get("oneOf")
    if either:
        return [choice for each in either for choice in _choices(schema, each) if choice.get("type") != "null"]
    return [field]


def _kind(schema: dict[str, Any], field: dict[str, Any]) -> str:
    (one,) = _choices(schema, field)
    if "enum" in one or "const" in one:
        return ", ".join(f"`{value}`" for value in one.get("enum", [one.get("const")]))
    kind = one["type"]
    if kind == "string":
        most = f", at most {one['maxLength']} characters" if "maxLength" in one else ""
        return ("a variable's name" if "A-Za-z_" in one.get("pattern", "") else "text") + most
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "array":
        return f"list of at most {one['maxItems']}: {_kind(schema, one['items'])}"
    if kind == "object":
        return f"table of at most {one['maxProperties']}"
    return ("whole number" if kind == "integer" else "number") + _range(one)


def _range(field: dict[str, Any]) -> str:
    words = [
        f"{word} {field[name]:g}" if isinstance(field[name], float) else f"{word} {field[name]}"
        for name, word in (
            ("exclusiveMinimum", "more than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
        )
        if name in field and field[name] != 2**63 - 1
    ]
    return f", {', '.join(words)}" if words else ""


def _default(value: Any) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
