"""LiveCurve and progress: what is seen while a loop runs. They look at the steps that pass by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ftkit.plots import dress_loss, loss_lines, trace
from ftkit.records import Step
from ftkit.style import empty, legend

from .outputs import in_kernel, picture, present

PAUSE = 0.5  # seconds between two drawings, at least
SPARE = 10  # and so many times what the last drawing took: at most a tenth of the time goes into drawing


class LiveCurve:
    """The loss so far, redrawn in one place; outside a notebook it only remembers, and `fig` can be saved."""

    def __init__(
        self, title: str = "loss", floor: float | None = None, *, clock: Callable = time.perf_counter
    ):
        self.title, self.steps, self.fig = title, [], empty()
        self.ax = self.fig.subplots()
        self.raw, self.line = loss_lines(self.ax, title, 0)
        dress_loss(self.ax, floor)
        legend(self.ax, grow=True)
        self.clock, self.handle, self.due, self.drawn = clock, None, 0.0, 0

    def add(self, step: Step) -> None:
        """Remember an update; redraw if it is time, and always after the last one."""
        self.steps.append(step)
        if step.step == step.total - 1 or (in_kernel() and self.clock() >= self.due):
            self.draw()

    def close(self) -> None:
        """Draw what has not been drawn: for a loop that is left early."""
        if self.drawn < len(self.steps):
            self.draw()

    def draw(self) -> None:
        """Bring the figure up to date, and the page with it."""
        began = self.clock()
        trace(self.raw, self.line, self.steps)
        self.drawn = len(self.steps)
        if not in_kernel():
            return
        first, last = self.steps[0], self.steps[-1]
        words = (
            f"{self.title}: {first.loss:.3f} at update {first.step + 1}, "
            f"{last.loss:.3f} at update {last.step + 1} of {last.total}"
        )
        data, metadata = picture(self.fig, words)
        if self.handle is None:
            self.handle = present(data, metadata=metadata, live=True)
        else:
            self.handle.update(data, metadata=metadata, raw=True)
        now = self.clock()
        self.due = now + max(PAUSE, SPARE * (now - began))


def progress(steps: Iterable, *, total: int | None = None, unit: str = "update"):
    """The same items, with a bar that counts them and says what time is left."""
    from tqdm.auto import tqdm

    return tqdm(steps, total=total, unit=unit, dynamic_ncols=True)
