"""The one error of this package.

Every reader here is handed bytes or text from somebody else. Whatever those hold, the only thing that
comes out besides a value is `MalformedError`, so that a service needs one `except` at its edge.
"""

from __future__ import annotations


class MalformedError(ValueError):
    """A peer's bytes are not what their place on the wire promises.

    The text names the thing, what was wrong with it and, where there is one, the way out.
    """
