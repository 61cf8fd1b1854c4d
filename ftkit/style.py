"""The one style: colours that colour-blind readers tell apart, on opaque white for dark mode's sake."""

from __future__ import annotations

import textwrap

WIDTH = 7.0  # inches; at this width no letter is smaller than SMALL points
HEIGHT = 3.2  # inches
SMALL = 11  # points
LETTER = 0.09  # inches that a letter of that size takes, on average
INK = "#1a1a1a"
QUIET = "#6b6b6b"

# The first two from Okabe and Ito (2008); the others so that each stands out from white by 3 to 1, and any
# two are far apart for usual, protanopic and deuteranopic eyes alike.
PALETTE = ("#0072b2", "#d55e00", "#115044", "#b6859d", "#573a00", "#4b2ab9", "#1a2045")
DASHES = ("-", "--", ":")  # a second sign beside the colour, for a print in grey
RAMP = ("#d6e8f6", "#7fb8de", "#2f8ac4", "#0a5a94", "#0b2d5b")  # light to dark: the more, the darker


def use() -> None:
    """Make it matplotlib's style, in this process."""
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "figure.figsize": (WIDTH, HEIGHT),
            "figure.facecolor": "white",
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "savefig.transparent": False,
            "savefig.dpi": 144,
            "axes.facecolor": "white",
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "axes.labelsize": SMALL + 1,
            "axes.titlesize": SMALL + 1,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.xmargin": 0.01,
            "axes.prop_cycle": cycler(linestyle=DASHES) * cycler(color=PALETTE),
            "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
            "font.size": SMALL,
            "figure.labelsize": SMALL + 1,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
            "legend.fontsize": SMALL,
            "legend.frameon": False,
            "grid.color": "#dddddd",
            "lines.linewidth": 2.0,
        }
    )


def empty(height: float = HEIGHT):
    """A figure that pyplot does not know, so that no backend shows it a second time."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def ramp():
    """The colour map of everything that has more and less."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ftkit", RAMP)


def luminance(colour) -> float:
    """Relative luminance from 0 (black) to 1 (white), as WCAG 2 defines it."""
    from matplotlib.colors import to_rgb

    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other) -> float:
    """Contrast from 1 to 21, as WCAG 2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def ink_on(colour) -> str:
    """Black or white, whichever reads better on a colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))


def wrapped(label: str, width: int = 32) -> str:
    """The label on several lines where it is long; a word that is longer still is cut."""
    return "\n".join(textwrap.wrap(str(label), width)) or str(label)


def legend(ax, *, grow: bool) -> None:
    """A legend above the axes, never over the data, in as many columns as fit; the figure may grow for it."""
    handles, labels = ax.get_legend_handles_labels()
    labels = [wrapped(label, 60) for label in labels]
    fig = ax.get_figure(root=True)
    room = fig.dpi * (ax.get_position().width * fig.get_figwidth())
    for columns in range(len(labels), 0, -1):
        box = ax.legend(
            handles,
            labels,
            ncols=columns,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            handlelength=2.2,
            columnspacing=1.2,
        )
        extent = box.get_window_extent()
        if extent.width <= room:
            break
    if grow:
        fig.set_figheight(HEIGHT - 0.3 + extent.height / fig.dpi)
