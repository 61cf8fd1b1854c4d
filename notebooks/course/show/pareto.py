"""Who is worth which cost: quality over cost, and the line that nobody beats (Pareto)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.plots import COSTS, SCALE
from ftkit.style import PALETTE, empty


def pareto(records: Sequence[Mapping], *, cost: str = "trainable"):
    """Quality over a cost, on a log scale; a line joins those that nobody beats at the same cost or less."""
    from ftkit.compare import frontier

    if cost not in COSTS:
        raise ValueError(f"expected a cost out of {', '.join(COSTS)}, found {cost!r}")
    if not records:
        raise ValueError("expected at least one strategy to show, found none")
    scale = SCALE.get(cost, 1)
    by_name = {r["strategy"]: r for r in records}
    fig = empty(4.6)
    ax = fig.subplots()
    best = frontier(records, cost=cost)
    line = [(by_name[n][cost] * scale, by_name[n]["quality"]) for n in best]
    ax.plot(*zip(*line, strict=True), color=PALETTE[1], linewidth=1.5, zorder=1)
    for name, r in by_name.items():
        colour = PALETTE[1] if name in best else PALETTE[0]
        x, y = r[cost] * scale, r["quality"]
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
    label_apart(ax, {n: (r[cost] * scale, r["quality"]) for n, r in by_name.items()})
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
