"""`antiphon credentials DIRECTORY`: the users of a NATS server of your own, a credential for each of them."""

from __future__ import annotations

from antiphon.runtime.nats.users import add_arguments, run

__all__ = ["add_arguments", "run"]
