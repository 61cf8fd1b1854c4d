"""Figures from plain numbers: bars, spectra. Each is a matplotlib figure; `figure` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.metrics import interval
from ftkit.style import INK, PALETTE, QUIET, empty, legend, wrapped

from .outputs import close, in_kernel, picture, present


def figure(fig, caption: str) -> None:
    """Show a figure and, below it, its caption: what to see in it. It is the alternative text, too."""
    if not caption.strip():
        raise ValueError("expected a caption that says what to see in the figure, found an empty one")
    data, metadata = picture(fig, caption)
    present(data, metadata=metadata)
    if in_kernel():  # elsewhere the words of the picture were printed already
        present({"text/markdown": f"*{caption}*", "text/plain": caption})
    close(fig)


def bars(values: Mapping[str, float], count: int | None = None, label: str = ""):
    """Horizontal bars, the first on top.

    With `count` the values are shares of so many examples, and the bars carry 95% intervals.
    """
    if not values:
        raise ValueError("expected at least one bar, found none")
    names = [wrapped(name) for name in values]
    numbers = [v if isinstance(v, int) else float(v) for v in values.values()]
    places, ends = range(len(names)), list(numbers)
    label = label if count is None else f"{label} (n = {count:,}; 95% intervals)".strip()
    label = wrapped(label, 64)
    lines = max(1 + name.count("\n") for name in names)
    fig = empty(0.55 + 0.22 * (1 + label.count("\n")) + len(names) * max(0.4, 0.14 + 0.2 * lines))
    ax = fig.subplots()
    ax.barh(places, numbers, color=PALETTE[0], height=0.62)
    if count is not None:
        spans = [interval(share, count=count) for share in numbers]
        reach = [
            (max(0.0, n - low), max(0.0, high - n)) for n, (low, high) in zip(numbers, spans, strict=True)
        ]
        ax.errorbar(numbers, places, xerr=list(zip(*reach, strict=True)), fmt="none", ecolor=INK, capsize=4)
        ends = [high for _, high in spans]
    for place, number, end in zip(places, numbers, ends, strict=True):
        side = -1 if number < 0 else 1
        where = {"textcoords": "offset points", "va": "center", "ha": "left" if side > 0 else "right"}
        ax.annotate(digits(number), (end, place), (6 * side, 0), **where)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    low, high = min(0.0, *numbers), max(0.0, *ends) if count is None else 1.0
    room = 0.15 * (high - low or 1.0)  # for the numbers beside the bars
    ax.set_xlim(low - room if low < 0 else 0, high + room)
    if count is not None:
        ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=QUIET, linewidth=0.8)
    fig.supxlabel(label)
    return fig


def digits(number: float) -> str:
    """Three digits of a number, and all digits of the whole part."""
    size = abs(number)
    if isinstance(number, int) or size >= 100:
        text = f"{number:,.0f}"
    else:
        text = f"{number:.3f}" if 0.01 <= size < 10 else f"{number:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def spectrum(values: Mapping[str, Sequence[float]]):
    """Singular values, largest first, on a log scale that ends at a 1e-8th of the largest.

    `values` maps a name to a list, an array or a tensor.
    """
    found = {
        name: sorted(column if isinstance(column, Sequence) else column.tolist(), reverse=True)
        for name, column in values.items()
    }
    if not found or any(not column or column[0] <= 0 for column in found.values()):
        raise ValueError(
            "expected singular values above 0 for every name, found none; has the matrix changed?"
        )
    fig = empty()
    ax = fig.subplots()
    for name, column in found.items():
        positive = [v for v in column if v > 0]
        marker = "o" if len(positive) <= 64 else ""
        ax.plot(range(1, len(positive) + 1), positive, label=name, marker=marker, markersize=4)
    largest = max(column[0] for column in found.values())
    smallest = min(v for column in found.values() for v in column if v > 0)
    ax.set_yscale("log")
    ax.set_ylim(max(smallest / 1.5, largest * 1e-8), largest * 2)
    ax.set_xlabel("number of the singular value, largest first")
    ax.set_ylabel("singular value")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(axis="y")
    legend(ax, grow=True)
    return fig
