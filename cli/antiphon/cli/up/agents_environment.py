"""What the bridge of `antiphon up` needs for agents as files: the folder, and the variables that the files name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError

VARIABLE: Final = "ANTIPHON_AGENTS_DIR"
"""The setting of the bridge."""


def environment_of_agents(folder: Path | None, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for the bridge. `folder`: of the option `--agents`; None: the setting counts, if there is one.

    A shell holds more than the bridge needs, so it gets of ours what the files name: keys of chat servers and tools. A
    variable that a file names later is there after the next start of the stack.
    """
    named = folder is not None
    if folder is None:
        if not (set_to := ours.get(VARIABLE)):
            return {}
        folder = Path(set_to)
    if not folder.is_dir():
        what = "is a file: name the folder it is in" if folder.exists() else "there is no such folder"
        raise UsageError(f"{'--agents' if named else VARIABLE} {folder}: {what}")
    from antiphon.inference_bridge.file_agents.files import files_in
    from antiphon.inference_bridge.file_agents.reader import OURS, named_variables

    found = {VARIABLE: str(folder.resolve())}
    for data in files_in(folder).values():
        for name in named_variables(data):
            if name in ours and not name.startswith(OURS):
                found[name] = ours[name]
    return found
