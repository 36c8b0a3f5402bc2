"""A stand-in for PyAV where it is not installed, so that libraries which import it for codecs of theirs can be loaded.

PyAV's wheels carry FFmpeg with x264 and x265, which are under the GPL, and our images do without them. Two libraries
import `av` at their top and use it only in what we never call: aiortc, of which we take SDP and certificates (its
codecs use PyAV), and faster-whisper, of which we take the recogniser (its reader of audio files uses PyAV). What is
called of the stand-in says what is missing. Where PyAV is installed nothing changes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "av"


def stand_in() -> None:
    """Let `import av` find the stand-in, if there is no PyAV. Called before the first import of such a library."""
    if importlib.util.find_spec(NAME) is None:
        sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder):
    """Finds `av` and all below it. The last of the interpreter's finders, for the life of the process."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == NAME or fullname.startswith(f"{NAME}."):
            return ModuleSpec(fullname, _Loader(), is_package=True)
        return None


class _Loader(Loader):
    """Makes the modules of the stand-in; made by `_Finder`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return


class _Absent(ModuleType):
    """A module in which every capitalised name is a class that can't be made, and every other one such a module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if name.islower():
            return importlib.import_module(full)

        def refuse(*_: object, **__: object) -> None:
            raise _missing(full)

        base = Exception if name.endswith("Error") else object
        made = type(name, (base,), {"__module__": self.__name__, "__init__": refuse})
        setattr(self, name, made)
        return made

    def __call__(self, *_: object, **__: object) -> None:
        raise _missing(self.__name__)


def _missing(name: str) -> ImportError:
    return ImportError(f"{name} is of PyAV, which is not installed: antiphon needs none of its codecs")
