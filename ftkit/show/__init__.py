"""show: the course's pictures, tables and widgets. They read what a run left; they never drive it."""

from . import style
from .figures import bars, figure, spectrum
from .grids import confusion, strategy_table
from .live import LiveCurve, progress
from .losses import curves
from .sentence import sentence_box
from .solved import exercise_progress
from .standings import pareto, standings
from .tables import table
from .widgets import sliders

style.use()

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
