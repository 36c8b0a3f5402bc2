"""The errors of this package that a user sees, each as one line: what happened, to what, and the way out."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake that the user can mend. Exit status 2, never a traceback."""


class CallError(Exception):
    """A call could not be set up or broke down; the text says where and what to do. Exit status 1."""
