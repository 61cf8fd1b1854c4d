"""The pictures of notebook 02b, drawn from plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ftkit.style import DASHES, INK, PALETTE, QUIET, empty

from .figures import figure

MINUS = "\N{MINUS SIGN}"


def minus(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Per loss: mean -ln p of the right answer, and the share of right answers, over the updates."""
    fig = empty()
    left, right = fig.subplots(1, 2)
    for place, (name, (harm, hits)) in enumerate(curves.items()):
        style = {"color": PALETTE[place], "linestyle": DASHES[place]}
        left.plot(harm, label=name, **style)
        right.plot(range(1, len(hits)), hits[1:], **style)  # at update 0 every probability is one half
    for ax, height in ((left, math.log(2)), (right, 0.5)):
        ax.axhline(height, color=QUIET, linestyle=":", linewidth=1.4)
        ax.set_xlabel("update")
    left.set_ylabel(f"{MINUS}ln p of the right answer")
    left.set_ylim(0)
    right.set_ylabel("share of right answers")
    right.set_ylim(0, 1.03)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    figure(
        fig,
        "Dotted: guessing. With the minus, the right answer becomes probable. As printed, it becomes less "
        "and less probable, without end, and the answers are no better than chance.",
    )


def brackets(chances: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Per loss a panel: mean probability of the right topic and of the wrong ones, over the updates."""
    fig = empty()
    for ax, (name, (right, wrong)) in zip(fig.subplots(1, 2, sharey=True), chances.items(), strict=True):
        ax.plot(right, color=PALETTE[0], linestyle=DASHES[0], label="the right topic")
        ax.plot(wrong, color=PALETTE[1], linestyle=DASHES[1], label="the nine wrong topics")
        ax.set_title(name)
        ax.set_xlabel("update")
        ax.set_ylim(-0.02, 1.04)
    fig.axes[0].set_ylabel("mean probability")
    handles, labels = fig.axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper left", ncols=2)
    figure(
        fig,
        "With brackets the wrong topics lose their probability, and then the right one gains. As printed, "
        "every topic gets a probability near 1, right or wrong: the lines lie upon each other.",
    )


def after(rows: Mapping[str, Sequence[float]]) -> None:
    """The probabilities of two words after "cats", in the language and by three tables."""
    fig = empty(2.9)
    ax = fig.subplots()
    words = ("sleep", "play")
    for place, (word, hatch) in enumerate(zip(words, ("", "//"), strict=True)):
        shift = 0.37 * (place - 0.5)
        heights = [row[place] for row in rows.values()]
        positions = [i + shift for i in range(len(rows))]
        ax.bar(positions, heights, 0.35, color=PALETTE[place], hatch=hatch, edgecolor="white", label=word)
        for x, height in zip(positions, heights, strict=True):
            ax.annotate(f"{height:.2f}", (x, height), (0, 3), textcoords="offset points", ha="center")
    ax.set_xticks(range(len(rows)), rows)
    ax.set_xlim(-0.55, len(rows) - 0.45)
    ax.set_ylim(0, 0.85)
    ax.set_ylabel("probability after cats")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure(
        fig,
        "What comes after cats, in the language and in three trained tables. As printed, the formula cannot "
        "tell the frequent word from the rare one.",
    )


def through_the_floor(shifted: Sequence[float], unshifted: Sequence[float], entropy: float) -> None:
    """Two losses over the updates, and the entropy that no honest one gets below."""
    fig = empty()
    ax = fig.subplots()
    for place, (name, losses) in enumerate({"shifted": shifted, "not shifted": unshifted}.items()):
        ax.plot(losses, color=PALETTE[place], linestyle=DASHES[place], label=name)
    ax.axhline(entropy, color=INK, linestyle=":", linewidth=1.4, label="entropy of the language")
    ax.set_xlabel("update")
    ax.set_ylabel("loss (nats per symbol)")
    ax.set_ylim(0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    figure(
        fig,
        "With the shift the loss comes to rest on the entropy. Without it, the loss falls through the "
        "entropy towards 0: the table copies the symbol that it has been given.",
    )
