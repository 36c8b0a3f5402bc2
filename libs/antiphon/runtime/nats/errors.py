"""The errors by which a call on NATS fails when the server, the connection or the store does not do its part.

One name for code that goes on without NATS: it logs what failed and tries again later. A mistake of our own (a wrong
argument, a message that is too long to encode) is none of these and is not caught by this name.
"""

from __future__ import annotations

from typing import Final

import nats.errors

BUS_ERRORS: Final = (nats.errors.Error, OSError)
"""For `except BUS_ERRORS as error`. JetStream's errors derive from `nats.errors.Error`, and every `TimeoutError` (of
asyncio, of sockets and of nats-py) derives from `OSError`; `tests/runtime/test_bus_errors.py` checks both."""
