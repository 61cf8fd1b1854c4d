"""Strategies side by side: their standings with intervals, and who is worth which cost (Pareto)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .grids import short
from .style import INK, PALETTE, QUIET, empty, wrapped

COSTS = {
    "trainable": "trained numbers",
    "peak_memory": "peak memory (MB)",
    "seconds": "seconds of training",
}
SCALE = {"peak_memory": 1e-6}


def standings(records: Sequence[Mapping], *, majority: float):
    """A row a strategy, best first: accuracy with its interval, and its costs (trained numbers: log).

    `records` are those of `comparison.summary`; the dotted line is what always answering one class gives.
    """
    if not records:
        raise ValueError("expected at least one strategy to show, found none")
    rows = sorted(records, key=lambda r: r["accuracy"])
    places = range(len(rows))
    fig = empty(1.3 + 0.34 * len(rows))
    axes = fig.subplots(1, 1 + len(COSTS), sharey=True, width_ratios=(1.7, 1, 1, 1))
    middle = [r["accuracy"] for r in rows]
    reach = [
        [max(0.0, r["accuracy"] - r["low"]) for r in rows],
        [max(0.0, r["high"] - r["accuracy"]) for r in rows],
    ]
    axes[0].errorbar(
        middle, places, xerr=reach, fmt="o", color=PALETTE[0], ecolor=INK, capsize=3, markersize=6
    )
    axes[0].axvline(majority, color=QUIET, linestyle=":")
    axes[0].set_yticks(places, [r["strategy"] for r in rows])
    low, high = min(majority, *(r["low"] for r in rows)), max(r["high"] for r in rows)
    axes[0].set_xlim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axes[0].set_xlabel("test accuracy\n(dotted: majority)")
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


def pareto(records: Sequence[Mapping], *, cost: str = "trainable"):
    """Accuracy over a cost, on a log scale; a line joins those that nobody beats at the same cost or less."""
    from ..comparison import frontier

    if cost not in COSTS:
        raise ValueError(f"expected a cost out of {', '.join(COSTS)}, found {cost!r}")
    if not records:
        raise ValueError("expected at least one strategy to show, found none")
    scale = SCALE.get(cost, 1)
    by_name = {r["strategy"]: r for r in records}
    fig = empty(4.6)
    ax = fig.subplots()
    best = frontier(records, cost=cost)
    line = [(by_name[n][cost] * scale, by_name[n]["accuracy"]) for n in best]
    ax.plot(*zip(*line, strict=True), color=PALETTE[1], linewidth=1.5, zorder=1)
    for name, r in by_name.items():
        colour = PALETTE[1] if name in best else PALETTE[0]
        x, y = r[cost] * scale, r["accuracy"]
        ax.errorbar(
            x,
            y,
            yerr=[[max(0, y - r["low"])], [max(0, r["high"] - y)]],
            color=colour,
            fmt="o",
            elinewidth=0.8,
        )
    ax.set_xscale("log")
    ax.margins(x=0.18, y=0.08)
    ax.set_xlabel(COSTS[cost])
    ax.set_ylabel("test accuracy")
    ax.grid(axis="y")
    label_apart(ax, {n: (r[cost] * scale, r["accuracy"]) for n, r in by_name.items()})
    return fig


def label_apart(ax, points: Mapping[str, tuple[float, float]]) -> None:
    """Names beside their points, each at the first of several places where it covers nothing else."""
    fig = ax.get_figure(root=True)
    fig.draw_without_rendering()
    taken = [ax.transData.transform(at) for at in points.values()]
    boxes = []
    offsets = [(side * 8, up) for up in (0, 9, -9, 18, -18, 27, -27, 36, -36) for side in (1, -1)]
    for name, at in points.items():
        for x, up in offsets:
            words = ax.annotate(
                name, at, (x, up), textcoords="offset points", va="center", ha="left" if x > 0 else "right"
            )
            words.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5})
            box = words.get_window_extent()
            inside = (
                ax.bbox.x0 <= box.x0
                and box.x1 <= ax.bbox.x1
                and ax.bbox.y0 <= box.y0
                and box.y1 <= ax.bbox.y1
            )
            free = not any(box.overlaps(other) for other in boxes) and not any(
                box.contains(*p) for p in taken
            )
            if inside and free:
                break
            words.remove()
        else:
            words = ax.annotate(name, at, (8, 0), textcoords="offset points", va="center")
        boxes.append(words.get_window_extent())
