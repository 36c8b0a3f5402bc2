"""Every field that crosses a process boundary says what it is: read from the source, where the words are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import antiphon.schemas

pytestmark = pytest.mark.pure

PACKAGE = Path(antiphon.schemas.__file__).parent
TAG = "type"
"""The discriminator of a union; its value is the name of the message."""


def fields() -> Iterator[tuple[str, bool]]:
    """`Class.field` of every annotated attribute of a class in the package, and whether a docstring follows it."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
                    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                        described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                        yield f"{node.name}.{statement.target.id}", described


def test_every_field_has_a_docstring() -> None:
    found = dict(fields())
    assert {"AudioFrame.pcm", "Ended.reason", "RouteToken.epoch", "Tunnelled.header"} <= found.keys()
    assert [name for name, described in found.items() if not described and not name.endswith(f".{TAG}")] == []
