"""What to try next, and which winners go to hardware. For programs: `from search import open_study`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import open_study as open_study


def __getattr__(name: str) -> Any:
    """`open_study`, imported when it is asked for: it imports Optuna, which takes a second."""
    if name == "open_study":
        from search.api import open_study

        return open_study
    raise AttributeError(f"module search has no attribute {name}; for programs it has open_study")
