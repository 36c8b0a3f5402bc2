"""Writes the table of metrics into docs/metrics.md: `python -m antiphon.runtime.metrics.docs` in the source tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from antiphon.runtime.metrics.table import METRICS, SERVICES, Definition, Values

PAGE: Final = Path("docs/metrics.md")
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->\n"


def table_of(definitions: Iterable[Definition]) -> str:
    """The table as Markdown."""
    rows = [
        f"| `{each.name}` | {each.kind} | {_labels(each)} | {_services(each)} | {each.help} |\n" for each in definitions
    ]
    return "| metric | kind | labels | of | what |\n|---|---|---|---|---|\n" + "".join(rows)


def _labels(definition: Definition) -> str:
    return "; ".join(f"`{name}`: {_values(values)}" for name, values in definition.labels.items())


def _values(values: Values) -> str:
    return f"up to {values}" if isinstance(values, int) else ", ".join(f"`{each}`" for each in values)


def _services(definition: Definition) -> str:
    return "all" if definition.services == SERVICES else ", ".join(definition.services)


if __name__ == "__main__":
    text = PAGE.read_text()
    written = f"{BEGIN}\n{table_of(METRICS.values())}\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: written, text, flags=re.DOTALL))
