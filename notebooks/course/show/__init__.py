"""show: the course's pictures, tables and widgets. They read what a run left; they never drive it."""

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
