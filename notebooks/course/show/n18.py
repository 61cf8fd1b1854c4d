"""The pictures of notebook 18: thin matrices, cells of a grid, differences, singular values, directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.style import INK, PALETTE, QUIET, empty, ink_on, legend, ramp, wrapped

MARKERS = ("o", "s", "^")


def product(weight, b, a, scale: float):
    """W, the thin matrices B and A, and W + scale B A, each as a grid with its numbers."""
    update = scale * b @ a
    parts = (("W", weight), ("B", b), ("A", a), (f"{scale:g} · B A", update), ("W merged", weight + update))
    fig = empty(1.9)
    axes = fig.subplots(1, len(parts))
    limit = max(abs(float(m.min())) for _, m in parts), max(float(m.max()) for _, m in parts)
    for ax, (name, matrix) in zip(axes, parts, strict=True):
        rows, width = matrix.shape
        ax.imshow(matrix, cmap=ramp(), vmin=0, vmax=max(limit) * 1.6)
        for i in range(rows):
            for j in range(width):
                value = float(matrix[i, j])
                shade = ramp()(value / (max(limit) * 1.6))
                ax.text(j, i, f"{value:g}", ha="center", va="center", color=ink_on(shade))
        middle = (width - 1) / 2  # every panel has the room of W, so that all cells are equally large
        ax.set(xlim=(middle - 1.6, middle + 1.6), ylim=(2.6, -0.6))
        ax.set_title(name, loc="center")
        ax.axis("off")
    return fig


def grid(means: Mapping[tuple[int, int], float], words: Mapping[tuple[int, int], str]):
    """A heat map over (rank, alpha): the mean accuracy, the factor alpha / r, and a word for each cell."""
    ranks, alphas = sorted({r for r, _ in means}), sorted({a for _, a in means})
    low, high = min(means.values()), max(means.values())
    fig = empty(3.4)
    ax = fig.subplots()
    table = [[means[r, a] for a in alphas] for r in ranks]
    span = high - low or 1.0
    ax.imshow(table, cmap=ramp(), vmin=low - 0.1 * span, vmax=high + 0.4 * span, aspect="auto")
    for i, r in enumerate(ranks):
        for j, a in enumerate(alphas):
            shade = ramp()((means[r, a] - low + 0.1 * span) / (1.5 * span))
            text = f"{means[r, a]:.3f}\nfactor {a / r:g}\n{words[r, a]}"
            ax.text(j, i, text, ha="center", va="center", color=ink_on(shade))
    ax.set_xticks(range(len(alphas)), alphas)
    ax.set_yticks(range(len(ranks)), ranks)
    ax.set_xlabel("alpha")
    ax.set_ylabel("rank")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    return fig


def differences(rows: Mapping[str, tuple[float, float, float]], label: str):
    """A dot and its interval for every difference (middle, low, high), around a line at 0."""
    names = list(rows)
    fig = empty(0.9 + 0.36 * len(names))
    ax = fig.subplots()
    for place, (middle, low, high) in enumerate(rows.values()):
        apart = low > 0 or high < 0
        ax.plot([low, high], [place, place], color=INK, linewidth=1.4, linestyle="-")
        ax.plot(
            middle,
            place,
            "o",
            color=PALETTE[1] if apart else PALETTE[0],
            markerfacecolor=PALETTE[1] if apart else "white",
            markeredgewidth=2,
            markersize=8,
        )
    ax.axvline(0, color=QUIET, linewidth=1)
    ax.set_yticks(range(len(names)), [wrapped(name, 34) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.margins(x=0.06)
    ax.grid(axis="x")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label)
    return fig


def spectra(values: Mapping[str, Sequence[float]]):
    """Singular values, largest first, on a log scale; a marker and a colour for each matrix."""
    fig = empty()
    ax = fig.subplots()
    for (name, column), colour, marker in zip(values.items(), PALETTE, MARKERS, strict=False):
        numbers = range(1, len(column) + 1)
        ax.plot(numbers, column, marker=marker, color=colour, linestyle="-", label=name, markersize=6)
    ax.set_yscale("log")
    ax.set_xlim(0.4, max(map(len, values.values())) + 0.6)
    ax.set_xlabel("number of the singular value, largest first")
    ax.set_ylabel("singular value (log scale)")
    ax.grid(axis="y")
    legend(ax, grow=True)
    return fig


def directions(panels: Mapping[str, Sequence[float]], threshold: float):
    """For every new singular vector its largest cosine with any old one: a panel of dots each."""
    fig = empty(2.9)
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (name, cosines), colour, marker in zip(axes, panels.items(), PALETTE, MARKERS, strict=False):
        values = [float(c) for c in cosines]
        ax.plot(range(1, len(values) + 1), values, marker, color=colour, markersize=3, linestyle="")
        ax.axhline(threshold, color=INK, linewidth=1.2, linestyle="--")
        ax.set_title(wrapped(name, 22))
        ax.set_ylim(0, 1.05)
        ax.set_xlim(-8, len(values) + 8)
        ax.set_xticks([1, 192, 384] if len(values) == 384 else [1, len(values)])
        ax.grid(axis="y")
    axes[0].set_ylabel("largest |cosine|\nwith an old one")
    fig.supxlabel("number of the singular vector, largest value first")
    return fig
