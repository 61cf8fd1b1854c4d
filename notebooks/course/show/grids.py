"""Figures that are grids of coloured cells: a strategy's table, a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftkit.plots import short
from ftkit.records import TrainConfig, Tuned
from ftkit.schedules import multiplier
from ftkit.style import LETTER, QUIET, empty, ink_on, ramp, wrapped

FINE = 100  # updates an epoch is thought to have when its mean learning rate is asked for
NUMBERED = 6  # so many columns leave room for words in every cell; more get a colour bar


def strategy_table(tuned: Tuned, config: TrainConfig):
    """Which parameters train, how fast, and from when: a row per group, an epoch per column.

    The first group, the one nearest the input, is the lowest row; cells are blank while a group is frozen,
    and so is a row at the very bottom for all that is not in the table.
    """
    grid = rates(tuned, config)
    sizes = {name: p.numel() for name, p in tuned.model.named_parameters()}
    counts = {}  # what decays and what does not share a row
    for group in tuned.groups:
        name = group.name.removesuffix(" (no decay)")
        counts[name] = counts.get(name, 0) + sum(sizes[one] for one in group.parameters)
    names, counts = list(counts), list(counts.values())
    training = sum(counts)
    frozen = sum(sizes.values()) - training
    if frozen:
        grid, counts, names = [[None] * config.epochs, *grid], [frozen, *counts], ["all else", *names]
    if len(grid) <= 8:
        labels = [f"{wrapped(name, 22)}\n{short(n)}" for name, n in zip(names, counts, strict=True)]
    else:
        labels = [f"{name}  {short(n)}" for name, n in zip(names, counts, strict=True)]
    worded = config.epochs <= NUMBERED
    words = [[power(r) if r is not None else "frozen" for r in row] for row in grid] if worded else None
    fig, ax, mesh = heatmap(
        [[math.nan if r is None else r for r in row] for row in grid], labels, words=words
    )
    if worded:
        ax.set_xticks(range(config.epochs))
        ax.set_xlabel("epoch (in the cells: mean learning rate)")
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch (grey: frozen)")
        fig.colorbar(mesh, ax=ax, pad=0.02, aspect=30, label="mean learning rate")
    total = training + frozen
    title = f"{training:,} of {total:,} parameters train ({percent(training, total)})"
    fig.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return fig


def rates(tuned: Tuned, config: TrainConfig) -> list[list[float | None]]:
    """Mean learning rate of every group in every epoch; None while the group is frozen."""
    total = FINE * config.epochs
    factors = [multiplier(config.schedule, step, total, config.warmup) for step in range(total)]
    means = [config.lr * sum(factors[FINE * e : FINE * (e + 1)]) / FINE for e in range(config.epochs)]
    speeds = {g.name.removesuffix(" (no decay)"): (g.lr_scale, g.from_epoch) for g in tuned.groups}
    return [
        [mean * lr_scale if epoch >= first else None for epoch, mean in enumerate(means)]
        for lr_scale, first in speeds.values()
    ]


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]):
    """Counts by truth (row) and answer (column), coloured by the row's share; right ones are diagonal."""
    counts = [[int(n) for n in row] for row in matrix]
    size = len(labels)
    if [len(row) for row in counts] != [size] * size:
        raise ValueError(
            f"expected a matrix of {size} x {size} for the labels {', '.join(labels)}, "
            f"found rows of {', '.join(str(len(row)) for row in counts) or 'nothing'}"
        )
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    worded = size <= NUMBERED
    words = [
        [f"{n:,}\n{s:.0%}" if worded else f"{n:,}" for n, s in zip(*pair, strict=True)]
        for pair in zip(counts, shares, strict=True)
    ]
    fig, ax, mesh = heatmap(shares, [wrapped(name, 20) for name in labels], words=words, limits=(0, 1))
    fits = int(4.6 / size / LETTER)  # letters that stand below one column
    if max(len(word) for name in labels for word in str(name).split()) <= fits:
        ax.set_xticks(range(size), [wrapped(name, fits) for name in labels])
    else:
        ax.set_xticks(range(size), [wrapped(name, 20) for name in labels], rotation=45, ha="right")
    ax.invert_yaxis()
    ax.set_xlabel("answer")
    ax.set_ylabel("truth")
    if not worded:
        fig.colorbar(mesh, ax=ax, pad=0.02, aspect=30, format="{x:.0%}", label="share of the row")
    return fig


def heatmap(grid: list[list[float]], labels: list[str], *, words: list[list[str]] | None, limits=None):
    """(figure, axes, mesh): coloured cells, row 0 lowest, nan blank; a log scale unless there are limits."""
    import numpy
    from matplotlib.colors import LogNorm, Normalize

    values = numpy.ma.masked_invalid(numpy.array(grid, dtype=float))
    if limits is None:
        shown = values.compressed()[values.compressed() > 0]
        low, high = (shown.min(), shown.max()) if shown.size else (1.0, 1.0)
        norm = LogNorm(low / 1.5, high * 1.5, clip=True)
    else:
        norm = Normalize(*limits)
    lines = max(1 + text.count("\n") for text in labels + [w for row in words or [] for w in row])
    fig = empty(1.0 + len(labels) * (0.1 + 0.19 * lines))
    ax = fig.subplots()
    ax.set_facecolor("#f0f0f0")  # what blank cells show
    edges = [numpy.arange(size + 1) - 0.5 for size in values.shape]
    mesh = ax.pcolormesh(edges[1], edges[0], values, norm=norm, cmap=ramp(), edgecolors="white", linewidth=2)
    for row, cells in enumerate(words or []):
        for column, text in enumerate(cells):
            blank = values.mask is not numpy.ma.nomask and numpy.ma.getmaskarray(values)[row, column]
            colour = QUIET if blank else ink_on(mesh.cmap(norm(values[row, column])))
            ax.text(column, row, text, ha="center", va="center", color=colour)
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return fig, ax, mesh


def power(rate: float) -> str:
    """A learning rate in as few signs as two digits need: 2e-5, 9.5e-4."""
    mantissa, _, exponent = f"{rate:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}" if rate else "0"


def percent(part: int, whole: int) -> str:
    """A share in percent, in three digits."""
    return f"{100 * part / max(1, whole):.3g}%"
