"""What a reader can move: sliders beside a figure.

Only what ipywidgets 7 and 8 share. Where no kernel runs, the first state stands there in words.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from html import escape

from ftkit.style import INK

from .outputs import close, png, present

ROOM = f"background:#ffffff;color:{INK};padding:8px;font-size:15px;"  # opaque: the page may be dark


def sliders(draw: Callable, /, **ranges: tuple[float, float, float]) -> None:
    """A slider per (lowest, highest, first) tuple, and the figure that `draw` returns for their values."""
    box, words = build_sliders(draw, ranges)
    show_widget(box, words)


def build_sliders(draw: Callable, ranges: Mapping[str, tuple[float, float, float]]):
    """(widget, words of its first state). The first figure is drawn here: its errors are the cell's."""
    import ipywidgets

    faults = [f"{n}={r}" for n, r in ranges.items() if len(r) != 3 or not r[0] <= r[2] <= r[1] != r[0]]
    if faults or not ranges:
        raise ValueError(
            f"expected sliders as name=(lowest, highest, first), found {', '.join(faults) or 'no slider'}"
        )
    controls = {name: slider(name, *span) for name, span in ranges.items()}
    view = ipywidgets.HTML()

    def redraw(_) -> None:
        values = {name: control.value for name, control in controls.items()}
        try:
            view.value = image(draw(**values), state(values))
        except Exception as error:  # a slider has no cell to raise into, so the picture's place says it
            view.value = message(f"{state(values)}: {type(error).__name__}: {error}")

    first = {name: control.value for name, control in controls.items()}
    view.value = image(draw(**first), state(first))
    for control in controls.values():
        control.observe(redraw, names="value")
    return ipywidgets.VBox([*controls.values(), view]), f"{state(first)} (in a running notebook: sliders)"


def slider(name: str, lowest: float, highest: float, first: float):
    """An IntSlider for whole numbers, else a FloatSlider of 20 to 200 positions, at round numbers."""
    import ipywidgets

    common = {
        "description": name.replace("_", " "),
        "continuous_update": False,  # draw where the slider is let go
        "style": {"description_width": "initial"},
        "layout": {"width": "min(100%, 30em)"},
    }
    if all(isinstance(v, int) for v in (lowest, highest, first)):
        return ipywidgets.IntSlider(first, min=lowest, max=highest, **common)
    step = 10.0 ** math.floor(math.log10((highest - lowest) / 20))
    return ipywidgets.FloatSlider(first, min=lowest, max=highest, step=step, readout_format=".3g", **common)


def state(values: Mapping[str, float]) -> str:
    """The sliders in words."""
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())


def image(fig, words: str) -> str:
    """A figure as HTML with alternative text."""
    data = base64.b64encode(png(fig)).decode()
    close(fig)
    style = f"width:{round(fig.get_figwidth() * 100)}px;max-width:100%"
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}" style="{style}">'


def show_widget(box, words: str) -> None:
    """Show a widget; the words are what remains of it where no kernel runs."""
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    present({"application/vnd.jupyter.widget-view+json": view, "text/plain": words})


def message(words: str) -> str:
    """A sentence in the place of the answers."""
    return f'<div role="status" class="ftkit-message" style="{ROOM}">{escape(words)}</div>'
