"""The pictures of notebook 02, drawn from plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ftkit.style import DASHES, INK, PALETTE, QUIET, RAMP, empty

from .figures import figure

MINUS = "\N{MINUS SIGN}"


def peak_and_valley(p: Sequence[float], likelihood: Sequence[float], loss: Sequence[float]) -> None:
    """The likelihood, and minus its logarithm per answer, over the probability of one word."""
    fig = empty()
    columns = (("likelihood of the four texts", likelihood, max), ("loss (nats per answer)", loss, min))
    for ax, (label, values, best) in zip(fig.subplots(1, 2), columns, strict=True):
        place = values.index(best(values))
        ax.plot(p, values, color=PALETTE[0])
        ax.axvline(p[place], color=QUIET, linestyle=":", linewidth=1.2)
        ax.plot(p[place], values[place], "o", color=PALETTE[1], markersize=8)
        ax.set_ylabel(label)
        ax.set_xlabel("probability given to cat")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.06 * max(values) if best is max else None)
    figure(
        fig,
        "Left: the likelihood has one peak. Right: minus its logarithm, divided by the number of "
        "answers, has one valley, at the same probability: the share of cat among the answers.",
    )


def two_parts(parts: Mapping[str, tuple[float, float]]) -> None:
    """Per model a bar: entropy, and the divergence on its end."""
    fig = empty(2.6)
    ax = fig.subplots()
    for place, (entropy, kl) in enumerate(parts.values()):
        ax.barh(place, entropy, 0.6, color=PALETTE[0], label=None if place else "entropy of the answers")
        ax.barh(
            place,
            kl,
            0.6,
            left=entropy,
            color=PALETTE[1],
            hatch="//",
            edgecolor="white",
            label=None if place else "divergence from the model",
        )
        ax.annotate(
            f"{entropy + kl:.3f}", (entropy + kl, place), (6, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(parts)), parts)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.35)
    ax.set_xlabel("loss (nats per answer)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure(
        fig,
        "The loss of three models on the same answers. The entropy is the same for all; only the "
        "divergence is the model's, and it is 0 for the model that gives the shares themselves.",
    )


def softmax(z: Sequence[float]) -> list[float]:
    e = [math.exp(x - max(z)) for x in z]
    return [x / sum(e) for x in e]


def four_softmaxes(words: Sequence[str], z: Sequence[float]) -> None:
    """Softmax of z, of z shifted, of z halved and of z doubled."""
    changes = {
        "z": z,
        "z + 5": [x + 5 for x in z],
        "z / 2": [x / 2 for x in z],
        "2 z": [2 * x for x in z],
    }
    fig = empty(2.8)
    for ax, (name, logits) in zip(fig.subplots(1, 4, sharey=True), changes.items(), strict=True):
        _word_bars(ax, words, softmax(logits))
        ax.set_title(f"{name} = " + ", ".join(f"{x:g}" for x in logits), fontsize=11)
    fig.axes[0].set_ylabel("probability")
    figure(
        fig,
        "Softmax of the logits as they are, shifted by 5, halved and doubled. The shift leaves every "
        "probability as it was; halving flattens the choice, doubling sharpens it.",
    )


def softmax_at(temperature: float, shift: float):
    """The figure behind the slider: logits 2, 1, 0 plus a shift, divided by a temperature."""
    fig = empty(2.8)
    ax = fig.subplots()
    logits = [(x + shift) / temperature for x in (2.0, 1.0, 0.0)]
    _word_bars(ax, ("cat", "dog", "bird"), softmax(logits))
    ax.set_ylabel("probability")
    given = ", ".join(f"{x:.2f}" for x in logits).replace("-", MINUS)
    ax.set_title(f"softmax of {given}. The shift cancels: no bar moves with it.", fontsize=11)
    return fig


def _word_bars(ax, words: Sequence[str], heights: Sequence[float]) -> None:
    ax.bar(range(len(words)), heights, 0.7, color=PALETTE[0])
    for place, height in enumerate(heights):
        ax.annotate(
            f"{height:.2f}", (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=11
        )
    ax.set_xticks(range(len(words)), words)
    ax.set_xlim(-0.6, len(words) - 0.4)
    ax.set_ylim(0, 1.12)
    ax.set_yticks([0, 0.5, 1])


def pushes(words: Sequence[str], p: Sequence[float], y: Sequence[float]) -> None:
    """What the model says, what is right, and the arrow by which training moves each logit."""
    fig = empty()
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    places = range(len(words))
    left.bar([i - 0.19 for i in places], p, 0.36, color=PALETTE[0], label="prediction p")
    left.bar([i + 0.19 for i in places], y, 0.36, color="white", edgecolor=INK, hatch="///", label="answer y")
    left.set_ylabel("probability")
    left.set_xlim(-0.6, len(words) - 0.4)
    left.set_ylim(0, 1.05)
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    right.axhline(0, color=QUIET, linewidth=0.8)
    for place, (chance, answer) in enumerate(zip(p, y, strict=True)):
        push = answer - chance  # descent goes against the gradient
        colour = PALETTE[2] if push > 0 else PALETTE[1]
        arrow = {
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 3,
            "mutation_scale": 18,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        right.annotate("", (place, push), (place, 0), arrowprops=arrow)
        shift = (0, 5 if push > 0 else -5)
        right.annotate(
            f"{push:+.3f}".replace("-", MINUS),
            (place, push),
            shift,
            textcoords="offset points",
            ha="center",
            va="bottom" if push > 0 else "top",
        )
    right.set_xlim(-0.6, len(words) - 0.4)
    right.set_ylim(-1, 1)
    right.set_yticks([-1, -0.5, 0, 0.5, 1])
    right.yaxis.set_major_formatter("{x:g}")
    right.set_ylabel(f"push on the logit, y {MINUS} p")
    for ax in (left, right):
        ax.set_xticks(places, words)
    figure(
        fig,
        "Left: prediction and answer. Right: descent moves each logit against the gradient. The right "
        "word is pushed up by what it lacks; every other word is pushed down by the probability that it "
        "had.",
    )


def floor(fresh: Mapping[str, Sequence[float]], stored: Mapping[str, Sequence[float]]) -> None:
    """Per model (entropy, divergence, measured loss): a bar for fresh texts, and two measured losses."""
    fig = empty(3.8)
    ax = fig.subplots()
    for place, (name, (entropy, kl, measured)) in enumerate(fresh.items()):
        first = place == 0
        ax.bar(place, entropy, 0.55, color=RAMP[2], label="entropy" if first else None)
        ax.bar(
            place,
            kl,
            0.55,
            bottom=entropy,
            color=RAMP[0],
            hatch="//",
            edgecolor=QUIET,
            linewidth=0,
            label="divergence" if first else None,
        )
        marks = {"markeredgecolor": "black", "markersize": 9}
        label = "measured, fresh texts" if first else None
        ax.plot(place - 0.13, measured, "o", color=PALETTE[1], label=label, **marks)
        label = "measured, stored texts" if first else None
        ax.plot(place + 0.13, stored[name][2], "D", color="white", label=label, **marks)
    ax.axhline(next(iter(fresh.values()))[0], color=INK, linestyle=":", linewidth=1.4)
    ax.set_xticks(range(len(fresh)), fresh)
    ax.set_xlim(-0.6, len(fresh) - 0.4)
    ax.set_ylabel("loss (nats per word)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    figure(
        fig,
        "Loss per word. Bars: exact on fresh texts, entropy plus divergence. Dots: measured on the "
        "words that came. The dotted line is the entropy. Only the memory, on the texts that it has "
        "stored, falls far below it.",
    )


def smoothing(epsilons: Sequence[float]) -> None:
    """The loss over the gap between the right logit and two equal others, with and without smoothing."""
    fig = empty()
    ax = fig.subplots()
    gaps = [i / 20 for i in range(-20, 181)]
    for place, epsilon in enumerate(epsilons):
        right, other = 1 - epsilon + epsilon / 3, epsilon / 3
        losses = [math.log(math.exp(g) + 2) - right * g for g in gaps]  # the two others have the logit 0
        style = {"color": PALETTE[place], "linestyle": DASHES[place]}
        ax.plot(gaps, losses, label=f"ε = {epsilon:g}", **style)
        if epsilon:
            best = math.log(right / other)
            ax.plot(
                best, math.log(math.exp(best) + 2) - right * best, "o", color=PALETTE[place], markersize=8
            )
    ax.set_xlabel("gap: the right logit above the two others")
    ax.set_ylabel("loss (nats)")
    ax.set_ylim(-0.05)
    ax.grid(axis="y")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    figure(
        fig,
        "Without smoothing the loss falls towards 0 for ever. With smoothing it has a lowest point "
        "(dot), the entropy of the smoothed answer; beyond it, more confidence costs.",
    )


def sure_and_wrong(paths: Mapping[str, Sequence[float]]) -> None:
    """Gradients of two losses over the logit, and p over the updates from z = -8."""
    fig = empty()
    left, right = fig.subplots(1, 2)
    z = [i / 10 for i in range(-100, 61)]
    p = [1 / (1 + math.exp(-x)) for x in z]
    slopes = ([x - 1 for x in p], [2 * (x - 1) * x * (1 - x) for x in p])
    for place, (name, path) in enumerate(paths.items()):
        style = {"color": PALETTE[place], "linestyle": DASHES[place]}
        left.plot(z, slopes[place], label=name, **style)
        right.plot(path, **style)
    left.axvline(-8, color=QUIET, linestyle=":", linewidth=1.2)
    left.set_xlabel("logit z (the answer is yes)")
    left.set_ylabel("gradient")
    right.set_xlabel(f"update, from z = {MINUS}8")
    right.set_ylabel("probability of yes")
    right.set_ylim(-0.03, 1.03)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    figure(
        fig,
        f"Left: at z = {MINUS}8 (dotted) the model is sure and wrong; cross-entropy has a slope of {MINUS}1 "
        "there, squared error has almost none. Right: only cross-entropy gets away.",
    )
