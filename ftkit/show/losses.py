"""Loss curves: what several runs lost, update by update; raw and smoothed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .style import DASHES, INK, PALETTE, empty, legend


def curves(runs: Mapping[str, Sequence], floor: float | None = None, ax=None):
    """Loss per update of several runs, smoothed over raw; `floor` is the lowest loss that is possible.

    `runs` maps a name to the steps of its run. With `ax` the curves go there, into a figure of the caller's.
    """
    if not runs or not all(len(steps) for steps in runs.values()):
        found = ", ".join(f"{name}: {len(steps)}" for name, steps in runs.items()) or "no run"
        raise ValueError(f"expected at least one update of every run, found {found}")
    own = ax is None
    ax = empty().subplots() if own else ax
    for number, (name, steps) in enumerate(runs.items()):
        raw, line = loss_lines(ax, name, number)
        trace(raw, line, steps)
        raw.set_visible(len(runs) <= 4)  # more would hide the means
    dress_loss(ax, floor)
    legend(ax, grow=own)
    return ax.get_figure(root=True)


def loss_lines(ax, name: str, number: int):
    """The two lines of a run, still empty: raw, thin and pale; smoothed, in the run's colour and dashes."""
    colour = PALETTE[number % len(PALETTE)]
    (raw,) = ax.plot([], [], color=colour, alpha=0.3, linewidth=1, linestyle="-")
    (line,) = ax.plot([], [], color=colour, label=name, linestyle=DASHES[number % len(DASHES)])
    return raw, line


def trace(raw, line, steps: Sequence) -> None:
    """Put the steps into the two lines, and the axes around them."""
    updates, losses = [s.step + 1 for s in steps], [s.loss for s in steps]
    raw.set_data(updates, losses)
    line.set_data(updates, smooth(losses))
    raw.axes.relim()
    raw.axes.autoscale_view()


def dress_loss(ax, floor: float | None) -> None:
    """Labels, a grid, and the floor that no model can go below."""
    ax.set_xlabel("update")
    ax.set_ylabel("loss (nats)")
    ax.grid(axis="y")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if floor is not None:
        ax.axhline(floor, color=INK, linewidth=1.2, linestyle="-.", label=f"floor {floor:.3f}")


def smooth(values: Sequence[float]) -> list[float]:
    """Means over a window of a tenth of the curve, as many as there are values.

    The window is centred, so nothing lags. It shrinks towards the first value, where a loss falls fast, and
    is cut off at the last one, so that the end shows a level and not one batch's luck. Values that are not
    finite stay out of the means.
    """
    half, sums, counts, means = len(values) // 20, [0.0], [0], []
    for value in values:
        finite = math.isfinite(value)
        sums.append(sums[-1] + (value if finite else 0.0))
        counts.append(counts[-1] + finite)
    for place in range(len(values)):
        reach = min(half, place)
        low, high = place - reach, min(place + reach + 1, len(values))
        count = counts[high] - counts[low]
        means.append((sums[high] - sums[low]) / count if count else math.nan)
    return means
