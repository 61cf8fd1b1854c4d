"""speed: systems' tokens per second, turn by turn, and the ceiling above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.style import INK, PALETTE, QUIET, empty


def speed(records: Sequence[Mapping]):
    """A bar a system (the median of its turns), a dot a turn; the short line is its ceiling.

    `records` have a name, a strategy, `rates` (real tokens per second of each turn), and `ceilings` (those of
    the matrix products alone), which may be empty.
    """
    if not records:
        raise ValueError("expected at least one system to show, found none")
    from statistics import median

    strategies = list(dict.fromkeys(r["strategy"] for r in records))
    groups = [[r for r in records if r["strategy"] == s] for s in strategies]
    fig = empty(0.5 + sum(0.55 + 0.34 * len(g) for g in groups))
    axes = fig.subplots(len(groups), 1, squeeze=False, height_ratios=[0.6 + len(g) for g in groups])[:, 0]
    for ax, strategy, found in zip(axes, strategies, groups, strict=True):
        best = max(max([*r["rates"], *r["ceilings"]]) for r in found)
        for place, record in enumerate(found):
            middle = median(record["rates"])
            ours = record["name"].startswith("ftkit")
            ax.barh(place, middle, color=PALETTE[0] if ours else QUIET, height=0.62, alpha=1 if ours else 0.6)
            ax.plot(record["rates"], [place] * len(record["rates"]), "o", color=INK, markersize=3, alpha=0.7)
            right = max(record["rates"])
            if record["ceilings"]:
                top = median(record["ceilings"])
                ax.plot([top, top], [place - 0.36, place + 0.36], color=PALETTE[1], linewidth=2.5)
                right = max(right, top) if top - right < 0.2 * best else right
            ax.annotate(f"{middle:,.0f}", (right, place), (6, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(found)), [r["name"] for r in found])
        ax.invert_yaxis()
        ax.set_xlim(0, 1.2 * best)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_title(strategy.replace("_", " "))
        ax.grid(axis="x")
    axes[-1].set_xlabel("real tokens per second\n(dot: a turn; line: matrix products alone)", loc="right")
    return fig
