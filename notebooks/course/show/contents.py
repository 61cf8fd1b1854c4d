"""contents: a map of which notebooks each notebook opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.style import INK, PALETTE, QUIET, RAMP, WIDTH, empty

from ..author.contents import PATHS, along, entries
from ..author.notebook import notebooks, root
from .figures import figure

ROW = 0.42  # inches from one row to the next
DOT = 0.46  # inches that a dot takes, and each letter of what stands beside it:
LETTER = 0.095
LEFT = 2.9  # inches for a row's name


def map() -> None:
    """Show a row for each notebook that others build on, and in it those others."""
    found = entries(notebooks(root()))
    short, day = ({one.number for one in along(way, found)} for way in PATHS[:2])
    figure(
        draw(
            {one.number: one.needs for one in found},
            titles={one.number: one.title for one in found},
            short=short,
            day=day,
        ),
        "What each notebook opens: after the one that a row names, those to its right can be read. “+07” "
        "behind a number: that one is needed as well. Squares: the path for an afternoon. Blue circles: what "
        "the path for a day adds.",
    )


def draw(needs: Mapping[str, Sequence[str]], *, titles: Mapping[str, str], short: set[str], day: set[str]):
    """The figure. `needs` maps a notebook's number to the numbers of those to read before it."""
    direct = reduced(needs)
    lines = []  # (the notebook that opens, or "" where its line goes on; [(opened, what else that needs)])
    for parent, ones in opened(direct).items():
        items = [(one, "".join(f" +{more}" for more in direct[one] if more != parent)) for one in ones]
        lines += [(parent if k == 0 else "", part) for k, part in enumerate(parts(items))]
    fig = empty(ROW * len(lines))
    ax = fig.subplots()
    for row, (parent, items) in enumerate(lines):
        x = LEFT + DOT / 2
        if parent:
            dot(ax, 0.2, row, parent, short=short, day=day)
            ax.text(0.45, row, shortened(titles[parent]), ha="left", va="center")
            ax.plot([LEFT - 0.15, x], [row, row], "-", color=QUIET, linewidth=1, zorder=0)
        for number, others in items:
            dot(ax, x, row, number, short=short, day=day)
            ax.text(x + 0.2, row, others.strip(), ha="left", va="center", color=QUIET)
            x += DOT + LETTER * len(others)
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.axis("off")
    return fig


def dot(ax, x: float, y: float, number: str, *, short: set[str], day: set[str]) -> None:
    """A notebook's number on the sign of its path."""
    shape, colour, ink = "o", "white", INK
    if number in day:
        colour = RAMP[1]
    if number in short:
        shape, colour, ink = "s", PALETTE[0], "white"
    ax.plot(x, y, shape, markersize=25, markerfacecolor=colour, markeredgecolor=QUIET, clip_on=False)
    ax.text(x, y, number, color=ink, ha="center", va="center")


def shortened(title: str) -> str:
    """What of a title fits before the dots."""
    return title if len(title) <= 26 else title[:25].rstrip() + "…"


def parts(items: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """As many lines as the dots need."""
    found: list[list[tuple[str, str]]] = [[]]
    room = WIDTH - LEFT
    for number, others in items:
        wide = DOT + LETTER * len(others)
        if wide > room and found[-1]:
            found.append([])
            room = WIDTH - LEFT
        found[-1].append((number, others))
        room -= wide
    return found


def reduced(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Without what follows from the rest: 18 needs 10 and 10 needs 09, so 18 need not name 09."""
    before = {
        number: [one for one in needs[number] if one in needs and one < number] for number in sorted(needs)
    }
    reach: dict[str, set[str]] = {}
    for number, ones in before.items():
        reach[number] = {far for one in ones for far in {one} | reach[one]}
    return {
        number: [one for one in sorted(ones) if not any(one in reach[other] for other in ones)]
        for number, ones in before.items()
    }


def opened(direct: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """{notebook: those that can be read after it}; each stands once, under the last that it needs."""
    found: dict[str, list[str]] = {}
    for number, ones in direct.items():
        if ones:
            found.setdefault(ones[-1], []).append(number)
    return dict(sorted(found.items()))
