"""What crosses a process boundary in Antiphon, and nothing else."""

from antiphon.schemas.errors import MalformedError

__all__ = ["MalformedError"]
