"""How work in progress is told."""

from collections.abc import Callable

OnProgress = Callable[[str, int, int | None], None]
"""Takes the stage, how many of its items are done, and of how many (None when nobody knows)."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""
