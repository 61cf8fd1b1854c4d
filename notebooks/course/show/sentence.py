"""A reader's own sentence, and what every model says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

from ftkit.style import PALETTE

if TYPE_CHECKING:  # transformers would be loaded by the first cell
    from ftkit.tasks import Prediction

from .widgets import ROOM, message, show_widget

EMPTY = "Type a sentence first: a label for nothing means nothing."


def sentence_box(predictors: Mapping[str, Callable[[str], Prediction]], value: str = "") -> None:
    """A text field and a button that asks every model; the answers stand side by side."""
    box, words = build_sentence_box(predictors, value)
    show_widget(box, words)


def build_sentence_box(predictors: Mapping[str, Callable[[str], Prediction]], value: str):
    """(widget, words of its first state). A predictor that fails on the first sentence raises here."""
    import ipywidgets

    field = ipywidgets.Text(
        value=value,
        description="Sentence",
        placeholder="Type a sentence",
        continuous_update=False,
        layout={"width": "min(100%, 40em)"},
    )
    field.add_class("ftkit-sentence")
    button = ipywidgets.Button(description="Answer", tooltip="Ask every model about this sentence")
    button.add_class("ftkit-answer")
    answers = ipywidgets.HTML()
    answers.add_class("ftkit-answers")

    def answer(_) -> None:
        button.disabled = True
        try:
            answers.value = rows(ask(predictors, field.value)) if field.value.strip() else message(EMPTY)
        except Exception as error:  # a click has no cell to raise into, so the box says it
            answers.value = message(f"{type(error).__name__}: {error}")
        finally:
            button.disabled = False

    button.on_click(answer)
    field.observe(answer, names="value")  # Enter, or leaving the field
    words = EMPTY
    answers.value = message(EMPTY)
    if value.strip():
        found = ask(predictors, value)
        answers.value = rows(found)
        words = "\n".join([value, *(f"  {name}: {p.label} {p.probability:.0%}" for name, p in found.items())])
    asking = ipywidgets.HBox([field, button], layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([asking, answers]), words


def ask(predictors: Mapping[str, Callable[[str], Prediction]], text: str) -> dict[str, Prediction]:
    """Every model's answer."""
    return {name: predict(text) for name, predict in predictors.items()}


def rows(found: Mapping[str, Prediction]) -> str:
    """One card per model: its name, its label and probability, and a bar as long as the probability."""
    cards = "".join(
        '<div class="ftkit-row" style="flex:1 1 14em;min-width:0">'
        f'<div style="overflow-wrap:anywhere">{escape(name)}</div>'
        f'<div style="font-weight:bold">{escape(p.label)} {p.probability:.0%}</div>{bar(p.probability)}</div>'
        for name, p in found.items()
    )
    return f'<div role="status" style="{ROOM}display:flex;flex-wrap:wrap;gap:16px">{cards}</div>'


def bar(share: float) -> str:
    """A bar that fills its share of the width; the number stands beside it, so it is hidden from readers."""
    inside = f'<div style="background:{PALETTE[0]};height:12px;width:{100 * share:.1f}%"></div>'
    return f'<div aria-hidden="true" style="background:#e6e6e6;height:12px">{inside}</div>'
