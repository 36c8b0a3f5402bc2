"""The pages for people: their links lead somewhere, what they name exists, and every setting of a service is on one."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic_settings import BaseSettings

from antiphon.inference_bridge.settings import Settings as BridgeSettings
from antiphon.runtime.telemetry import names
from antiphon.signaling.settings import Settings as SignalingSettings
from antiphon.transceiver.settings import Settings as TransceiverSettings

pytestmark = pytest.mark.pure

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN_BEFORE: Final = ("CHANGELOG.md", "moved.md")
"""They name what is gone, too."""
WRITTEN_LATER: Final = ("deploy/images.env",)
"""By a command of ours."""
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_MODULE: Final = re.compile(r"`(antiphon\.[a-z_]+(?:\.[a-z_0-9]+)+)`")
_FILE: Final = re.compile(
    r"`(?:PYTHONPATH=tests )?(?:python |pytest (?:-s )?)?((?:tests|deploy|schemas/vectors)/[\w./-]+\.\w+)"
)


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings, and those that stand in the page."""
    found: dict[str, int] = {}
    anchors = set(re.findall(r'<a id="([^"]+)">', page.read_text()))
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        anchors.add(f"{slug}-{number}" if number else slug)
    return anchors


def _dead_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


def _is_module_or_in_one(name: str) -> bool:
    """`antiphon.a.b`, or a class or function of it; or a name that spans and their attributes have."""
    if name in vars(names).values():
        return True
    for parts in (name, name.rpartition(".")[0]):
        try:
            spec = importlib.util.find_spec(parts)
        except ModuleNotFoundError:
            continue
        if spec is not None:
            wanted = name.rpartition(".")[2]
            return parts == name or spec.origin is None or wanted in Path(spec.origin).read_text()
    return False


def test_links_lead_to_a_page_and_a_heading_of_it() -> None:
    dead = {str(page.relative_to(ROOT)): links for page in PAGES if (links := list(_dead_links(page)))}
    assert dead == {}


def test_modules_and_files_that_a_page_names_exist() -> None:
    gone: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text() if page.name not in WRITTEN_BEFORE else ""
        names = [name for name in _MODULE.findall(text) if not _is_module_or_in_one(name)]
        names += [name for name in _FILE.findall(text) if name not in WRITTEN_LATER and not (ROOT / name).exists()]
        if names:
            gone[str(page.relative_to(ROOT))] = names
    assert gone == {}


@pytest.mark.parametrize("settings", [BridgeSettings, SignalingSettings, TransceiverSettings])
def test_every_setting_is_in_the_table_of_all_services(settings: type[BaseSettings]) -> None:
    """By its name, or by its end where a row has several of one beginning, or under a common beginning with a star."""
    table = (ROOT / "docs" / "operations.md").read_text()
    begin = tuple(re.findall(r"`(ANTIPHON_[A-Z_]+)\*`", table))
    ends = tuple(re.findall(r"`(_[A-Z_]+[A-Z])`", table))
    missing = [
        name
        for name in (f"ANTIPHON_{field.upper()}" for field in settings.model_fields)
        if f"`{name.removesuffix('_FILE')}" not in table and not name.startswith(begin) and not name.endswith(ends)
    ]
    assert missing == []
