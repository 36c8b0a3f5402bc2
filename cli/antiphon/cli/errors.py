"""The errors of this package that a user sees, each as one line: what happened, to what, and the way out."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake that the user can correct. Exit status 2, never a traceback."""


def installing(extra: str) -> str:
    """The way out where packages of `extra` are missing. By a path: on the package index this name is not ours."""
    return f"pip install '.[{extra}]' in a clone of Antiphon"


class CallError(Exception):
    """A call could not be set up or broke off; the text says where and what to do. Exit status 1."""


class RefusedCallError(CallError):
    """The server takes no call, for now or at all: the status of its answer, and its `Retry-After` (0: it has none)."""

    def __init__(self, text: str, status: int, retry_after: int) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after
