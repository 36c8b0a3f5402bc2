"""Version, Python and dependencies of the SDK's own wheel: those of the project, read from its `pyproject.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

EXTRAS = ("telemetry", "tools", "pipecat")
"""Of the project that are of use to a plug-in."""


class ProjectMetadata(MetadataHookInterface):
    """Made by hatchling for one build."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the project's values in."""
        project = tomllib.loads((Path(self.root).parent / "pyproject.toml").read_text())["project"]
        for name in ("version", "requires-python", "dependencies"):
            metadata[name] = project[name]
        metadata["optional-dependencies"] = {name: project["optional-dependencies"][name] for name in EXTRAS}
