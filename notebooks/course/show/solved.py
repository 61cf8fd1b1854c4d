"""exercise_progress: which exercises are solved, as a strip per notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from ftkit.style import PALETTE, QUIET, empty

from .figures import figure


def exercise_progress() -> None:
    """Show a square per exercise, filled where it is solved, from the progress file beside the notebooks."""
    from ..check import catalogue
    from ..progress import solved

    numbers = {stem: [e.number for e in exercises] for stem, exercises in catalogue().items()}
    if not numbers:
        raise ValueError(
            "expected exercises in notebooks/course/answers, found none; is the installation complete?"
        )
    done = set(solved())
    total = sum(len(n) for n in numbers.values())
    known = sum(n in done for found in numbers.values() for n in found)
    figure(strips(numbers, done), f"{known} of {total} exercises solved; a filled square is a solved one.")


def strips(numbers: Mapping[str, Sequence[str]], done: Iterable[str]):
    """The figure: a row per notebook, in two columns when there are many notebooks."""
    stems, done = list(numbers), set(done)
    columns = 1 if len(stems) <= 12 else 2
    height = -(-len(stems) // columns)
    places = 22 if columns == 1 else max(8, *(len(found) for found in numbers.values()))
    fig = empty(0.3 + 0.26 * height)
    for part, ax in enumerate(fig.subplots(1, columns, squeeze=False)[0]):
        shown = stems[part * height : (part + 1) * height]
        for row, stem in enumerate(shown):
            for place, number in enumerate(numbers[stem]):
                square(ax, place, row, filled=number in done)
        names = [textwrap.shorten(stem.replace("_", " "), 24, placeholder=" …") for stem in shown]
        ax.set_yticks(range(len(shown)), names)
        ax.set_xlim(-0.7, places)
        ax.set_ylim(height - 0.4, -0.6)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return fig


def square(ax, place: int, row: int, *, filled: bool) -> None:
    """One exercise, drawn."""
    edge, inside = (PALETTE[0], PALETTE[0]) if filled else (QUIET, "white")
    ax.plot(place, row, "s", markersize=9, markerfacecolor=inside, markeredgecolor=edge, clip_on=False)
