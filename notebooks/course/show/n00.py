"""Notebook 00's pictures: reviews as points, kinds of reviews, two learning rates, the map of strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ftkit.metrics import interval
from ftkit.style import INK, PALETTE, QUIET, empty, ink_on

MARKERS = "ovsD"


def flatten(points):
    """The two directions in which the points differ most: (points, width) -> (points, 2)."""
    import torch

    centred = points - points.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def reviews(points, topics: Sequence[str], opinions: Sequence[str], title: str):
    """The same points twice, coloured by topic and by opinion: the four commonest topics, to keep it clear.

    `points` is a tensor (reviews, width).
    """
    chosen = sorted(sorted(set(topics)), key=topics.count)[-4:]
    kept = [i for i, topic in enumerate(topics) if topic in chosen]
    flat = flatten(points[kept])
    fig = empty(3.9)
    columns = (
        ("coloured by topic", [topics[i] for i in kept], PALETTE),
        ("coloured by opinion", [opinions[i] for i in kept], (PALETTE[1], PALETTE[0])),
    )
    for ax, (name, groups, colours) in zip(fig.subplots(1, 2), columns, strict=True):
        for one, colour, marker in zip(sorted(set(groups)), colours, MARKERS, strict=False):
            where = [i for i, group in enumerate(groups) if group == one]
            ax.scatter(*flat[where].T, s=20, color=colour, marker=marker, label=one, linewidths=0)
        ax.set(title=name, xticks=[], yticks=[], xlabel="first direction", ylabel="second direction")
        ax.margins(0.05)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, handletextpad=0.1, columnspacing=1)
    fig.suptitle(title, x=0.01, ha="left", fontsize=12)
    return fig


def kinds(right: Mapping[str, tuple[int, int]], baseline: float):
    """{kind: (right answers, reviews)} as shares with 95% intervals, and the baseline as a dotted line."""
    fig = empty(0.9 + 0.5 * len(right))
    ax = fig.subplots()
    for place, (hits, count) in enumerate(right.values()):
        low, high = interval(hits / count, count=count)
        ax.plot([low, high], [place, place], color=INK, linewidth=1.5, linestyle="-", marker="|")
        ax.plot(hits / count, place, "o", color=PALETTE[0], markersize=8)
        ax.annotate(f"{hits / count:.0%}", (high, place), (8, 0), textcoords="offset points", va="center")
    ax.axvline(baseline, color=QUIET, linestyle=":", linewidth=1.5)
    ax.annotate("baseline", (baseline, 1), (4, 2), xycoords=("data", "axes fraction"), color=QUIET, **OFFSET)
    ax.set_yticks(range(len(right)), [f"{kind} ({count:,})" for kind, (_, count) in right.items()])
    ax.set(xlim=(0, 1.1), ylim=(len(right) - 0.5, -0.5), xlabel="share right, with its 95% interval")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.grid(axis="x")
    return fig


OFFSET = {"textcoords": "offset points", "va": "bottom", "ha": "left"}


def rates(runs: Mapping[str, Sequence[float]]):
    """The loss of each update of several runs on a log scale, beside ln 2, which a coin reaches."""
    fig = empty(3.3)
    ax = fig.subplots()
    for (name, losses), colour, marker in zip(runs.items(), PALETTE, MARKERS, strict=False):
        updates = range(1, len(losses) + 1)
        ax.plot(updates, losses, color=colour, linestyle="-", marker=marker, markersize=5, label=name)
    ax.axhline(math.log(2), color=INK, linewidth=1.2, linestyle="--", label="ln 2: a coin")
    ax.set(yscale="log", xlabel="update", ylabel="loss (log scale)")
    ax.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    ax.margins(0.03)
    ax.grid(axis="y")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    return fig


PARTS = ("extra input", "embeddings", *(f"block {i}" for i in range(1, 7)), "head")
BLOCKS = range(2, 8)  # their rows
STRATEGIES = {  # which rows train (the share of the rate they get), which get a few numbers, a text per row
    "full": (dict.fromkeys(range(1, 9), 1.0), (), {}),
    "head only": ({8: 1.0}, (), {}),
    "gradual": (dict.fromkeys(range(1, 9), 1.0), (), {row: str(9 - row) for row in range(1, 9)}),
    "discriminative": ({row: 0.3 + 0.1 * (row - 1) for row in range(1, 9)}, (), {}),
    "BitFit": ({8: 1.0}, BLOCKS, dict.fromkeys(BLOCKS, "b")),
    "LoRA": ({8: 1.0}, BLOCKS, dict.fromkeys(BLOCKS, "AB")),
    "adapters": ({8: 1.0}, BLOCKS, dict.fromkeys(BLOCKS, "+")),
    "IA3": ({8: 1.0}, BLOCKS, dict.fromkeys(BLOCKS, "×")),
    "prompt tuning": ({8: 1.0}, (0,), {0: "p"}),
    "prefix tuning": ({8: 1.0}, BLOCKS, dict.fromkeys(BLOCKS, "kv")),
}


def strategies():
    """The map: a column a strategy, a row a part of the model, the text coming in at the bottom."""
    fig = empty(5.1)
    ax = fig.subplots()
    for column, (trains, few, words) in enumerate(STRATEGIES.values()):
        for row in range(len(PARTS)):
            if row == 0 and row not in few:
                continue  # only prompt tuning puts vectors in front of the text
            ax.bar(column, 0.84, 0.84, row - 0.42, color="white", edgecolor=QUIET, linewidth=0.8)
            if row in trains:  # as wide as its rate
                ax.bar(column, 0.84, 0.84 * trains[row], row - 0.42, color=PALETTE[0])
            if row in few:
                ax.bar(column, 0.56, 0.62, row - 0.28, color=PALETTE[1])
            if row in words:
                ink = ink_on(PALETTE[1] if row in few else PALETTE[0])
                ax.text(column, row, words[row], ha="center", va="center", color=ink, weight="bold")
    ax.set_yticks(range(len(PARTS)), PARTS)
    ax.set_xticks(range(len(STRATEGIES)), STRATEGIES, rotation=40, ha="left", rotation_mode="anchor")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylim(-0.55, 8.5)
    return fig
