"""The one error of this package that a user sees: a mistake that the user can mend."""

from __future__ import annotations


class UsageError(Exception):
    """Names the thing, the value and the way out. Shown as one line, exit status 2, never a traceback."""
