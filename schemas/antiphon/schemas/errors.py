"""The one error of this package.

Every reader here gets bytes or text of another process. Whatever they hold, it returns a value or raises
`MalformedError` and nothing else, so that a service needs one `except` where it receives them.
"""

from __future__ import annotations


class MalformedError(ValueError):
    """A peer's bytes are not in the format of their place on the wire.

    The text names the thing, what is wrong with it and, where there is one, the way out.
    """
