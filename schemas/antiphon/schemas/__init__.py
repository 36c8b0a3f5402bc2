"""The wire formats of Antiphon: what crosses a process boundary, and nothing else."""

from antiphon.schemas.errors import MalformedError

__all__ = ["MalformedError"]
