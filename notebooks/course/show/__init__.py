"""show: the course's pictures, tables and widgets. They read what a run left; they never drive it."""

import importlib
import re

from ftkit import style
from ftkit.plots import curves, standings

from .figures import bars, figure, spectrum
from .grids import confusion, strategy_table
from .live import LiveCurve, progress
from .pareto import pareto
from .sentence import sentence_box
from .solved import exercise_progress
from .tables import table
from .widgets import sliders

style.use()


def __getattr__(name: str):
    """The pictures of one notebook, `show.n18`, and those of the contents, when they are asked for."""
    if re.fullmatch(r"n\d\d[a-z]?|contents", name):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"course.show has no {name!r}")


__all__ = [
    "LiveCurve",
    "bars",
    "confusion",
    "curves",
    "exercise_progress",
    "figure",
    "pareto",
    "progress",
    "sentence_box",
    "sliders",
    "spectrum",
    "standings",
    "strategy_table",
    "table",
]
