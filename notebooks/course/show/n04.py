"""The pictures of notebook 04: a mixture in the plane, products of matrices, maps of weights, costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ftkit.style import INK, PALETTE, QUIET, empty, ink_on, ramp

from .widgets import image, message, show_widget, slider

GREY = "#e4e4e4"  # a weight of exactly 0
MARKS = ("o-", "s--", "^:")


def mixture(values: Mapping[str, Sequence[float]], outputs: Mapping[str, Sequence[float]]):
    """Values as the corners of a triangle, and outputs as marks inside it, joined in their order."""
    fig = empty(3.6)
    ax = fig.subplots()
    corners = [list(map(float, point)) for point in values.values()]
    ax.fill(*zip(*corners, strict=True), facecolor="#f1f5f9", edgecolor=QUIET, linewidth=1.2)
    for name, (x, y) in zip(values, corners, strict=True):
        ax.plot(x, y, "o", color=INK, markersize=7)
        lowest = y == min(other for _, other in corners)
        ax.annotate(f"value of {name}", (x, y), (11, -12 if lowest else 4), textcoords="offset points")
    points = [list(map(float, point)) for point in outputs.values()]
    ax.plot(*zip(*points, strict=True), "-", color=PALETTE[1], linewidth=1.5)
    for (name, (x, y)), mark in zip(zip(outputs, points, strict=True), "s^Dv", strict=False):
        ax.plot(x, y, mark, color=PALETTE[1], markersize=9, label=name, linestyle="")
    ax.legend(title="query multiplied by", loc="center left", bbox_to_anchor=(1.02, 0.5))
    ax.set(xlabel="first number", ylabel="second number", aspect="equal")
    ax.set_xlim(min(x for x, _ in corners) - 0.4, max(x for x, _ in corners) + 2.2)
    ax.margins(y=0.14)
    return fig


def products(parts: Mapping[str, tuple], words: Sequence[str]):
    """Matrices with their numbers: name -> (matrix, title under it). A row belongs to a word where it can."""
    fig = empty(3.9)
    grid = fig.subplots(2, 3, width_ratios=(4, 3, 3))
    for ax, (name, (matrix, note)) in zip(grid.flat, parts.items(), strict=True):
        numbers = [[float(v) for v in row] for row in matrix.tolist()]
        high = max(1e-9, max(max(row) for row in numbers))
        ax.imshow(numbers, cmap=ramp(), vmin=0, vmax=high, aspect="auto", alpha=0.9)
        for i, row in enumerate(numbers):
            for j, v in enumerate(row):
                ink = ink_on(ramp()(v / high))
                ax.text(
                    j, i, f"{v:.3g}" if v == round(v) else f"{v:.2f}", ha="center", va="center", color=ink
                )
        ax.set_title(name)
        ax.set_xlabel(note, fontsize=11)
        rows = len(numbers) == len(words) and "ᵀ" not in name
        ax.set_yticks(range(len(words)) if rows else [], words if rows else [])
        columns = len(numbers[0]) == len(words)
        ax.set_xticks(range(len(words)) if columns else [], words if columns else [], fontsize=10)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return fig


def scaling(
    widths: Sequence[int], spread: Mapping[str, Sequence[float]], slope: Mapping[str, Sequence[float]]
):
    """Spread of the scores and slope of softmax over the width of a head, both on log scales."""
    fig = empty(3.3)
    left, right = fig.subplots(1, 2)
    titles = ("spread (standard deviation)", "slope of softmax")
    for ax, series, title in ((left, spread, titles[0]), (right, slope, titles[1])):
        for place, ((name, heights), mark) in enumerate(zip(series.items(), MARKS, strict=False)):
            ax.plot(widths, heights, mark, color=PALETTE[place], label=name, clip_on=False)
        ax.set(xscale="log", yscale="log", xlabel="width d (log scale)", title=title)
        ax.set_xticks(widths, widths)
        ax.minorticks_off()
        ax.margins(x=0.07)
    left.set_ylim(0.5, 64)
    left.set_yticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    right.set_ylim(1e-6, 3)
    left.legend(loc="upper left")
    right.legend(loc="lower left")
    return fig


def heat(ax, weights, title: str, words: Sequence[str] | None = None):
    """One map of weights; cells that are exactly 0 stay grey."""
    ax.set_facecolor(GREY)
    numbers = [[float(v) if float(v) else math.nan for v in row] for row in weights.tolist()]
    drawn = ax.imshow(numbers, cmap=ramp(), vmin=0, vmax=1)
    ax.set_title(title, fontsize=11)
    places = range(len(words or []))
    ax.set_xticks(places, words or [], rotation=90, fontsize=10)
    ax.set_yticks(places, words or [], fontsize=10)
    ax.tick_params(length=0)
    return drawn


def maps(found: Mapping[str, object], words: Sequence[str]):
    """Several maps of weights over the same words, side by side: rows read, columns are read."""
    large = len(words) > 7  # then two rows, so that no word stands on another
    fig = empty(6.6 if large else 2.5)
    shape = (math.ceil(len(found) / 2), 2) if large else (1, len(found))
    axes = fig.subplots(*shape, sharex=True, sharey=True)
    for ax, (name, weights) in zip(axes.flat, found.items(), strict=True):
        drawn = heat(ax, weights, name, words)
    fig.colorbar(drawn, ax=axes, shrink=0.5 if large else 0.75, label="weight")
    return fig


def cheat(losses: Mapping[str, Sequence[float]], floor: float, moved: Mapping[str, object]):
    """Loss of two models in training, and which of their predictions depend on which tokens."""
    fig = empty(3.3)
    left, *others = fig.subplots(1, 1 + len(moved), width_ratios=(1.7, *[1] * len(moved)))
    for place, ((name, heights), dash) in enumerate(zip(losses.items(), ("-", "--"), strict=True)):
        left.plot(heights, dash, color=PALETTE[place], label=name)
    left.axhline(floor, color=INK, linewidth=1.2, linestyle=":", label="guessing", zorder=3)
    left.set(xlabel="update", ylabel="loss (nats)", ylim=(0, 3.4))
    left.legend(loc="center right")
    for ax, (name, found) in zip(others, moved.items(), strict=True):
        numbers = found / found.max()
        size = range(len(numbers))
        heat(ax, numbers, name)
        ax.set_xticks(size, [i + 1 for i in size], rotation=0, fontsize=10)
        ax.set_yticks(size, [i + 1 for i in size], fontsize=10)
        ax.set_xlabel("token changed")
    others[0].set_ylabel("prediction")
    return fig


def cost(lengths: Sequence[int], operations: Mapping, milliseconds: Mapping, *, equal: int):
    """Operations by formula and measured time over the length; a list of numbers for each name."""
    fig = empty(3.9)
    left, right = fig.subplots(1, 2)
    panels = ((left, operations, "operations (billions)"), (right, milliseconds, "milliseconds"))
    for ax, series, label in panels:
        for place, ((name, heights), mark) in enumerate(zip(series.items(), MARKS, strict=False)):
            ax.plot(lengths, heights, mark, color=PALETTE[place], label=name)
        ax.set(xscale="log", yscale="log", xlabel="tokens n (log scale)", ylabel=f"{label}, log scale")
        ax.set_xticks(lengths, lengths)
        ax.minorticks_off()
        ax.margins(0.07, 0.07)
        ax.axvline(equal, color=QUIET, linewidth=1.2, linestyle=":")
        foot = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        ax.annotate("n = 2d", (equal, 0.02), (-5, 0), ha="right", **foot)
        ax.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0))
    return fig


def sentence_maps(read: Callable, text: str, layer: tuple[int, int], head: tuple[int, int]) -> None:
    """A text field and two sliders: the map of any head for the reader's own sentence.

    `read` takes a text and gives (its tokens, weights of shape (layers, heads, tokens, tokens)).
    `layer` and `head` are (how many there are, the first one shown).
    """
    import ipywidgets

    field = ipywidgets.Text(
        value=text, description="Sentence", continuous_update=False, layout={"width": "min(100%, 40em)"}
    )
    controls = [slider(n, 0, size - 1, first) for n, (size, first) in (("layer", layer), ("head", head))]
    view = ipywidgets.HTML()

    def draw(_=None) -> None:
        words, weights = read(field.value)
        place, number = (control.value for control in controls)
        fig = empty(max(4.0, 1.6 + 0.2 * len(words)))
        ax = fig.subplots()
        drawn = heat(ax, weights[place, number], f"layer {place}, head {number}", words)
        fig.colorbar(drawn, ax=ax, shrink=0.7, label="weight")
        view.value = image(fig, f"layer {place}, head {number}: {field.value}")

    def redraw(change) -> None:
        try:
            draw(change)
        except Exception as error:  # a widget has no cell to raise into, so the picture's place says it
            view.value = message(f"{type(error).__name__}: {error}")

    draw()
    for control in (field, *controls):
        control.observe(redraw, names="value")
    words = f"{text} (in a running notebook: a text field, and sliders for layer and head)"
    show_widget(ipywidgets.VBox([field, *controls, view]), words)
