"""What the commands draw: loss curves, and strategies side by side with their intervals and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .style import DASHES, INK, PALETTE, QUIET, empty, legend, wrapped

COSTS = {
    "trainable": "trained numbers",
    "peak_memory": "peak memory (MB)",
    "seconds": "seconds of training",
}
SCALE = {"peak_memory": 1e-6}


def curves(runs: Mapping[str, Sequence], floor: float | None = None, ax=None):
    """Loss per update of several runs, smoothed over raw; `floor` is the lowest loss that is possible.

    `runs` maps a name to the steps of its run. With `ax` the curves go there, into a figure of the caller's.
    """
    if not runs or not all(len(steps) for steps in runs.values()):
        counts = ", ".join(f"{name}: {len(steps)}" for name, steps in runs.items()) or "no run"
        raise ValueError(f"expected at least one update of every run, got {counts}")
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


def standings(records: Sequence[Mapping], *, majority: float | None, label: str = "test accuracy"):
    """A row a strategy, best first: quality with its interval, and its costs (trained numbers: log).

    `records` are those of `compare.summary`; the dotted line is what always answering one class gives.
    """
    if not records:
        raise ValueError("expected at least one strategy to show, got none")
    rows = sorted(records, key=lambda r: r["quality"])
    places = range(len(rows))
    fig = empty(1.3 + 0.34 * len(rows))
    axes = fig.subplots(1, 1 + len(COSTS), sharey=True, width_ratios=(1.7, 1, 1, 1))
    middle = [r["quality"] for r in rows]
    reach = [
        [max(0.0, r["quality"] - r["low"]) for r in rows],
        [max(0.0, r["high"] - r["quality"]) for r in rows],
    ]
    axes[0].errorbar(
        middle, places, xerr=reach, fmt="o", color=PALETTE[0], ecolor=INK, capsize=3, markersize=6
    )
    if majority is not None:
        axes[0].axvline(majority, color=QUIET, linestyle=":")
        label += "\n(dotted: majority)"
    axes[0].set_yticks(places, [r["strategy"] for r in rows])
    low, high = min(r["low"] for r in rows), max(r["high"] for r in rows)
    low = low if majority is None else min(low, majority)
    axes[0].set_xlim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axes[0].set_xlabel(label)
    for ax, (cost, label) in zip(axes[1:], COSTS.items(), strict=True):
        values = [r[cost] * SCALE.get(cost, 1) for r in rows]
        ax.barh(places, values, color=PALETTE[0], height=0.55)
        if cost == "trainable":  # from hundreds to millions
            ax.set_xscale("log")
            ax.set_xlim(min(values) / 3, max(values) * 60)
        else:
            ax.set_xlim(0, max(values) * 1.7)
        for place, value in zip(places, values, strict=True):
            words = short(round(value)) if value >= 1 else f"{value:.2g}"
            ax.annotate(words, (value, place), (4, 0), textcoords="offset points", va="center")
        ax.set_xticks([])
        ax.minorticks_off()
        ax.set_xlabel(wrapped(label, 12), labelpad=18)
        ax.tick_params(axis="y", length=0)
        ax.spines["bottom"].set_visible(False)
    axes[0].grid(axis="x")
    return fig


def short(count: int) -> str:
    """A number of parameters in three digits: 768, 1.54k, 22.7M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)
