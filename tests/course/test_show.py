"""show: what the pictures, tables and widgets promise."""

from __future__ import annotations

import io
import itertools
import math
import random
import subprocess
import sys

import ipywidgets
import nbclient
import nbformat
import numpy
import pytest
import torch
from course import progress as exercise_file
from course import show
from course.author.notebook import root
from course.records import Exercise
from course.show import contents, live, outputs, sentence, solved, widgets
from matplotlib.colors import to_rgb, to_rgba
from PIL import Image
from torch import nn

from ftkit import metrics, plots, printed, style
from ftkit.records import Group, Step, TrainConfig, Tuned
from ftkit.schedules import multiplier
from ftkit.tasks.classification import Prediction


def steps(count: int = 141, *, seed: int = 0, level: float = 0.25) -> list[Step]:
    """A run as it looks: a noisy fall from ln 2."""
    noise = random.Random(seed)
    fall = [level + (0.69 - level) * math.exp(-i / 30) + noise.gauss(0, 0.08) for i in range(count)]
    return [Step(i, count, 0, loss, 1e-3, 1.0, 32, 900, 0.2) for i, loss in enumerate(fall)]


def tuned(blocks: int = 3, *, everything: bool = True) -> Tuned:
    """Gradual unfreezing with a rate per layer, on a model that is only its sizes."""
    model = nn.Module()
    model.embeddings = nn.Embedding(100, 8)
    model.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(blocks))
    model.head = nn.Linear(8, 2)
    rows = [
        Group(
            f"block {i}",
            (f"blocks.{i}.weight", f"blocks.{i}.bias"),
            lr_scale=0.5 ** (blocks - i),
            from_epoch=blocks - 1 - i,
        )
        for i in range(blocks)
    ]
    rows.append(Group("head", ("head.weight", "head.bias")))
    if everything:
        rows.insert(0, Group("embeddings", ("embeddings.weight",), lr_scale=0.01))
    return Tuned(model, tuple(rows))


LONG = "discriminative learning rates with gradual unfreezing from the top, factor"
CLASSES = ["B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC", "O"]
NAMES = ["full", "discriminative", "gradual", "lora", "qlora", "adapters", "prefix_tuning", "prompt_tuning"]
MEASURED = [
    {
        "strategy": name,
        "quality": 0.88 - 0.007 * i,
        "low": 0.86 - 0.007 * i,
        "high": 0.9 - 0.007 * i,
        "trainable": int(2.2e7 / 7 ** max(0, i - 2)),
        "peak_memory": 8e8 - 6e7 * max(0, i - 2),
        "seconds": 0.4 if i == 7 else 80.0 - i,
    }
    for i, name in enumerate(NAMES)
]
FIGURES = {
    "curves": lambda: show.curves(
        {"LoRA": steps(), "full": steps(seed=1), "head": steps(level=0.6)}, floor=0.2
    ),
    "long curves": lambda: show.curves({f"{LONG} {i}": steps(seed=i, level=i / 9) for i in range(8)}),
    "strategy": lambda: show.strategy_table(tuned(), TrainConfig(epochs=3)),
    "deep strategy": lambda: show.strategy_table(tuned(24), TrainConfig(epochs=12)),
    "bars": lambda: show.bars({"LoRA": 0.886, "majority": 0.53}, count=617, label="test accuracy"),
    "long bars": lambda: show.bars(
        {f"{LONG} {i}": 1.0 for i in range(3)}, count=40, label=f"accuracy, {LONG}"
    ),
    "spectrum": lambda: show.spectrum(
        {"full": [0.9**i for i in range(384)], "LoRA": [2.0] * 8 + [0.0] * 376}
    ),
    "confusion": lambda: show.confusion([[280, 31], [39, 267]], ("negative", "positive")),
    "entities": lambda: show.confusion(numpy.diag([1000] * 9) + 7, CLASSES),
    "long classes": lambda: show.confusion(
        [[9, 1, 0]] * 3, [LONG[:31], "positive", "neither, or both at once"]
    ),
    "standings": lambda: show.standings(MEASURED, majority=0.53),
    "pareto": lambda: show.pareto(MEASURED),
    "contents": lambda: contents.draw(
        {f"{i:02}b": [f"{i // 4:02}b", f"{i // 3:02}b"] if i else [] for i in range(37)},
        titles={f"{i:02}b": LONG for i in range(37)},
        short={"01b"},
        day={"01b", "05b"},
    ),
    "strips": lambda: solved.strips({f"{i:02}_unsupervised_and_semi": ["a"] * 5 for i in range(33)}, ["a"]),
}


@pytest.fixture(scope="module", params=FIGURES)
def drawn(request):
    """Every kind of figure, laid out as it will be saved."""
    fig = FIGURES[request.param]()
    fig.savefig(io.BytesIO(), format="png", dpi="figure")
    return fig


def texts(fig):
    """What is written in a figure, without what lies outside an axis's limits."""
    from matplotlib.text import Text

    def hidden(text):
        return any(
            text in axis.get_ticklabels(which="both")
            and not min(limits) - 1e-9 <= text.get_position()[side] <= max(limits) + 1e-9
            for ax in fig.axes
            for side, (axis, limits) in enumerate([(ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())])
        )

    return [t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible() and not hidden(t)]


def test_every_word_of_a_figure_can_be_read(drawn):
    """Nothing over the edge, nothing small, no two texts and no legend over one another."""
    assert drawn.get_figwidth() == 7
    edge, boxes = drawn.bbox, []
    for text in texts(drawn):
        box = text.get_window_extent()
        assert edge.x0 <= box.x0 and box.x1 <= edge.x1 + 1, f"{text.get_text()!r} leaves the figure"
        assert edge.y0 <= box.y0 and box.y1 <= edge.y1 + 1, f"{text.get_text()!r} leaves the figure"
        assert text.get_fontsize() >= 11, f"{text.get_text()!r} is small"
        if not text.get_rotation() % 90:
            boxes.append((text.get_text(), box))
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide < 1 or high < 1, f"{one!r} overlaps {other!r}"
    for ax in drawn.axes:
        assert not ax.get_legend() or ax.get_legend().get_window_extent().y0 >= ax.bbox.y1
    data = outputs.png(drawn)
    assert len(data) <= 60_000
    assert Image.open(io.BytesIO(data)).convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_saving_space_changes_no_colour_of_the_palette():
    fig = show.curves({f"{LONG} {i}": steps(1000, seed=i, level=i / 2) for i in range(7)})
    pixels = numpy.array(Image.open(io.BytesIO(outputs.png(fig, limit=40_000))).convert("RGB"))
    for colour in style.PALETTE:
        assert abs(pixels - numpy.array(to_rgb(colour)) * 255).max(axis=2).min() <= 4, colour


def test_a_picture_of_noise_becomes_coarser_until_it_fits_or_is_refused():
    fig = style.empty()
    fig.subplots().imshow(numpy.random.default_rng(0).random((300, 300)), aspect="auto")
    fine = outputs.png(fig, limit=10_000_000)
    coarse = outputs.png(fig, limit=len(fine) // 2)
    assert Image.open(io.BytesIO(coarse)).width < Image.open(io.BytesIO(fine)).width
    with pytest.raises(ValueError, match="at most 1,000 bytes"):
        outputs.png(fig, limit=1000)


def lab(colour) -> numpy.ndarray:
    """CIE L*a*b* of linear sRGB under D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = numpy.array(matrix) @ colour / numpy.array([0.9505, 1.0, 1.089])
    f = numpy.where(xyz > 0.008856, numpy.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return numpy.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira, Fernandes (2009), severity 1, on linear sRGB
EYES = {
    "usual": numpy.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
}


def test_colour_blind_eyes_tell_any_two_colours_of_the_palette_apart():
    def seen(colour, eyes):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return lab(numpy.clip(numpy.array(EYES[eyes]) @ linear, 0, 1))

    for eyes in EYES:
        for one, other in itertools.combinations(style.PALETTE, 2):
            assert numpy.linalg.norm(seen(one, eyes) - seen(other, eyes)) > 25, f"{eyes}: {one} and {other}"


def test_every_colour_of_the_palette_stands_out_from_white():
    assert min(style.contrast(colour, "white") for colour in style.PALETTE) >= 3
    assert style.contrast("black", "white") == pytest.approx(21)


def test_words_on_any_colour_of_the_map_are_readable():
    shades = style.ramp()(numpy.linspace(0, 1, 50))
    assert min(style.contrast(style.ink_on(shade), shade) for shade in shades) >= 4.5
    assert all(numpy.diff([style.luminance(shade) for shade in shades]) < 0)


def test_importing_show_loads_nothing_heavy():
    heavy = "{'transformers', 'ipywidgets', 'matplotlib.pyplot', 'sklearn', 'scipy', 'IPython'}"
    code = f"import sys; from course import show; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root() / "notebooks"
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_smoothing_keeps_every_update_and_ends_on_the_level_of_the_last_ones():
    values = [s.loss for s in steps(200)]
    means = plots.smooth(values)
    assert len(means) == 200
    assert means[0] == values[0]
    assert means[100] == pytest.approx(sum(values[90:111]) / 21)
    assert means[-1] == pytest.approx(sum(values[-11:]) / 11)


def test_a_loss_that_is_no_number_does_not_spread():
    values = [1.0] * 60
    values[30], values[31] = math.nan, math.inf
    assert plots.smooth(values) == pytest.approx([1.0] * 60)


def test_curves_reach_the_last_update_and_show_the_raw_losses():
    run = steps(50)
    raw, line, floor = show.curves({"LoRA": run}, floor=0.2).axes[0].lines
    assert list(raw.get_xdata()) == list(line.get_xdata()) == list(range(1, 51))
    assert list(raw.get_ydata()) == [s.loss for s in run]
    assert list(floor.get_ydata()) == [0.2, 0.2]


def test_curves_go_into_axes_of_the_callers_and_leave_its_size():
    fig = style.empty(2.0)
    axes = fig.subplots(1, 2)
    assert show.curves({"LoRA": steps()}, ax=axes[1]) is fig
    assert fig.get_figheight() == 2.0 and not axes[0].lines


def test_curves_of_a_run_without_updates_are_refused():
    with pytest.raises(ValueError, match="full: 0"):
        show.curves({"LoRA": steps(), "full": []})


def test_the_best_strategy_stands_on_top_and_every_bar_says_its_number():
    fig = show.standings(MEASURED, majority=0.53)
    names = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert names == NAMES[::-1]  # row 0 is the lowest
    assert [t.get_text() for t in fig.axes[1].texts][-1] == "22M"


def test_the_line_of_pareto_joins_whom_nobody_beats():
    (line,) = (one for one in show.pareto(MEASURED).axes[0].lines if len(one.get_xdata()) > 1)
    assert list(line.get_xdata()) == sorted({m["trainable"] for m in MEASURED})
    assert list(line.get_ydata()) == sorted(line.get_ydata())


def test_a_comparison_of_nothing_or_by_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="at least one strategy"):
        show.standings([], majority=0.5)
    with pytest.raises(ValueError, match="at least one strategy"):
        show.pareto([])
    with pytest.raises(ValueError, match="trainable, peak_memory, seconds, found 'money'"):
        show.pareto(MEASURED, cost="money")


def test_a_figure_can_be_saved_as_the_command_line_does(tmp_path):
    show.curves({"LoRA": steps()}).savefig(tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] == 7 * 144


def test_a_group_that_wakes_later_is_blank_before_its_epoch():
    mesh = show.strategy_table(tuned(3), TrainConfig(epochs=3)).axes[0].collections[0]
    blank = numpy.ma.getmaskarray(mesh.get_array())  # rows: embeddings, block 0, 1, 2, head
    assert blank.tolist() == [
        [False] * 3,
        [True, True, False],
        [True, False, False],
        [False] * 3,
        [False] * 3,
    ]


def test_the_table_is_coloured_by_the_schedules_mean_rate():
    config = TrainConfig(lr=2e-3, epochs=2, schedule="cosine", warmup=0.2)
    total, halves = 200, [range(100), range(100, 200)]
    means = [sum(multiplier("cosine", s, total, 0.2) for s in half) / 100 for half in halves]
    values = show.strategy_table(tuned(0), config).axes[0].collections[0].get_array()
    assert values.tolist() == [pytest.approx([rate * m for m in means]) for rate in (2e-5, 2e-3)]


def test_the_table_counts_what_trains_and_gives_the_rest_a_frozen_row():
    fig = show.strategy_table(tuned(0, everything=False), TrainConfig(epochs=2))
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["all else\n800", "head\n18"]
    assert [t.get_text() for t in fig.axes[0].texts][:2] == ["frozen", "frozen"]
    assert fig.get_suptitle() == "18 of 818 parameters train (2.2%)"


def test_a_rate_of_zero_is_drawn_too():
    values = show.strategy_table(tuned(0), TrainConfig(lr=0.0, epochs=1)).axes[0].texts
    assert [t.get_text() for t in values] == ["0", "0"]


def test_parameters_are_counted_in_three_digits():
    assert [plots.short(n) for n in (768, 1536, 22_713_216, 8e9)] == ["768", "1.54k", "22.7M", "8G"]


def test_bars_carry_the_intervals_of_metrics():
    ax = show.bars({"LoRA": 0.886, "all right": 1.0}, count=617).axes[0]
    ends = [[segment[0][0], segment[1][0]] for segment in ax.collections[0].get_segments()]
    assert ends == [pytest.approx(metrics.interval(share, count=617)) for share in (0.886, 1.0)]
    assert "n = 617" in ax.figure.get_supxlabel()


def test_bars_say_their_numbers_in_the_order_given_from_the_top():
    numbers = {"full": 2210.4, "LoRA": 41.26, "loss": 0.5, "down": -0.25, "rate": 2e-5, "rank": 4}
    ax = show.bars(numbers).axes[0]
    assert [t.get_text() for t in ax.texts] == ["2,210", "41.3", "0.500", "−0.250", "2e−05", "4"]
    assert ax.get_yticklabels()[0].get_text() == "full" and ax.yaxis_inverted()


@pytest.mark.filterwarnings("error")
def test_a_spectrum_takes_tensors_that_need_gradients_sorts_them_and_leaves_zeros_out():
    ax = show.spectrum({"query": torch.tensor([0.5, 3.0, 0.0], requires_grad=True)}).axes[0]
    assert list(ax.lines[0].get_ydata()) == [3.0, 0.5] and ax.get_yscale() == "log"
    with pytest.raises(ValueError, match="above 0"):
        show.spectrum({"untrained": [0.0, 0.0]})


def test_a_confusion_matrix_has_truth_in_rows_from_the_top():
    ax = show.confusion([[90, 10], [0, 50]], ("negative", "positive")).axes[0]
    assert [t.get_text() for t in ax.texts] == ["90\n90%", "10\n10%", "0\n0%", "50\n100%"]
    assert ax.yaxis_inverted() and (ax.get_ylabel(), ax.get_xlabel()) == ("truth", "answer")
    with pytest.raises(ValueError, match="found rows of 2, 2"):
        show.confusion([[1, 2], [3, 4]], ("a", "b", "c"))


class Page:
    """A notebook's page: it counts what is shown and what is redrawn, on a clock of its own."""

    def __init__(self, monkeypatch, *, drawing: float = 0.01):
        self.now, self.drawing, self.shown, self.updated = 0.0, drawing, 0, []
        monkeypatch.setattr(live, "in_kernel", lambda: True)
        monkeypatch.setattr(live, "present", self.present)
        monkeypatch.setattr(live, "picture", self.picture)

    def picture(self, fig, words):
        self.now += self.drawing
        return {"image/png": len(fig.axes[0].lines[1].get_xdata()), "text/plain": words}, {}

    def present(self, data, *, metadata, live):
        self.shown += 1
        self.updated.append(data["image/png"])
        return self

    def update(self, data, *, metadata, raw):
        self.updated.append(data["image/png"])


def race(page: Page, count: int, *, seconds: float, upto: int | None = None) -> show.LiveCurve:
    """Add `upto` of `count` updates, `seconds` apart."""
    curve = show.LiveCurve("loss", clock=lambda: page.now)
    for step in steps(count)[:upto]:
        page.now += seconds
        curve.add(step)
    return curve


def test_a_live_curve_is_redrawn_at_most_twice_a_second_and_after_the_last_update(monkeypatch):
    page = Page(monkeypatch)
    race(page, 1000, seconds=0.01)  # ten seconds of training
    assert 10 <= len(page.updated) <= 21
    assert page.shown == 1 and page.updated[-1] == 1000


def test_drawing_takes_at_most_a_tenth_of_the_time_however_slow_it_is(monkeypatch):
    page = Page(monkeypatch, drawing=2.0)
    race(page, 1000, seconds=0.1)
    assert 2.0 * len(page.updated) <= page.now / 10 + 2 * 2.0  # the first and the last come on top


def test_a_curve_that_is_left_early_is_completed_by_close_and_only_once(monkeypatch):
    page = Page(monkeypatch)
    curve = race(page, 1000, seconds=0.01, upto=30)
    assert page.updated[-1] < 30
    curve.close()
    drawn = len(page.updated)
    curve.close()
    assert page.updated[-1] == 30 and len(page.updated) == drawn


def test_a_live_curve_is_silent_outside_a_notebook_and_its_figure_is_complete(capsys):
    curve = show.LiveCurve("loss", floor=0.2)
    for step in steps(20):
        curve.add(step)
    curve.close()
    assert capsys.readouterr() == ("", "")
    assert len(curve.fig.axes[0].lines[1].get_xdata()) == 20


def test_progress_passes_every_item_on(capsys):
    assert list(show.progress(iter(range(5)), total=5)) == list(range(5))
    assert "5/5" in capsys.readouterr().err


def test_outside_a_notebook_a_figure_prints_its_caption_and_a_table_its_rows(capsys):
    show.figure(FIGURES["bars"](), "LoRA beats the majority.")
    show.table([{"strategy": "LoRA", "accuracy": 0.8859}, {"strategy": "majority", "accuracy": 0.53}])
    assert capsys.readouterr().out == (
        "LoRA beats the majority.\nstrategy  accuracy\nLoRA         0.886\nmajority     0.530\n"
    )


def test_a_figure_without_a_caption_is_refused():
    with pytest.raises(ValueError, match="caption"):
        show.figure(FIGURES["bars"](), " ")


def test_a_table_puts_numbers_right_and_keeps_bars_and_line_breaks_out_of_its_cells():
    rows = [{"text": "a|b\nc", "n": 1234, "rate": 2e-5}, {"text": "d", "n": 5, "best": True}]
    assert printed.markdown(rows).split("\n") == [
        "| text | n | rate | best |",
        "| :-- | --: | --: | :-- |",
        "| a\\|b c | 1,234 | 2e-05 |  |",
        "| d | 5 |  | yes |",
    ]
    with pytest.raises(ValueError, match="at least one row"):
        show.table([])


def test_a_cell_has_three_digits():
    says = {0.8859: "0.886", 0.0: "0.000", 1536.4: "1,536", None: "", (0.86, 0.91): "0.860, 0.910"}
    assert {value: printed.cell(value) for value in says} == says
    assert printed.cell(numpy.float32(0.5)) == "0.500"


def prediction(label: str, probability: float) -> Prediction:
    """A classifier's answer."""
    return Prediction(label, probability, {label: probability, "other": 1 - probability})


def box(predictors: dict, value: str = "The soup was cold."):
    """(text field, button, answers) of a sentence box."""
    line, answers = sentence.build_sentence_box(predictors, value)[0].children
    return *line.children, answers


def test_a_sentence_box_shows_every_models_first_answer():
    models = {
        "untrained": lambda text: prediction("positive", 0.51),
        "tuned": lambda text: prediction("negative", 0.97),
    }
    widget, words = sentence.build_sentence_box(models, "The soup was cold.")
    answers = widget.children[1].value
    assert answers.count('class="ftkit-row"') == 2
    assert "positive 51%" in answers and "negative 97%" in answers and "width:97.0%" in answers
    assert words == "The soup was cold.\n  untrained: positive 51%\n  tuned: negative 97%"


def test_a_click_asks_the_models_again_about_what_the_field_says():
    asked = []

    def model(text):
        asked.append(text)
        return prediction("positive", 0.5 + len(asked) / 10)

    field, button, answers = box({"model": model})
    assert "positive 60%" in answers.value
    button.click()
    assert asked == ["The soup was cold."] * 2 and "positive 70%" in answers.value
    assert field.value == "The soup was cold." and not button.disabled


def test_enter_in_the_field_answers_too():
    field, _, answers = box({"model": lambda text: prediction(f"{len(text)} letters", 1.0)})
    field.value = "Cold."
    assert "5 letters 100%" in answers.value


def test_a_browser_finds_the_field_and_the_button_by_their_class():
    field, button, _ = box({"model": lambda text: prediction("positive", 0.5)})
    assert "ftkit-sentence" in field._dom_classes and "ftkit-answer" in button._dom_classes
    assert field.description and button.description and button.tooltip


def test_names_labels_and_messages_are_escaped():
    evil = "<img src=x onerror=alert(1)>"

    def refuse(text):
        raise ValueError(f"cannot read {text}")

    _, _, answers = box({evil: lambda text: prediction(evil, 0.5)})
    assert "<img" not in answers.value and answers.value.count("&lt;img") == 2
    field, _, answers = box(
        {"model": lambda text: prediction("a", 0.5) if text == "fine" else refuse(text)}, "fine"
    )
    field.value = evil
    assert "<img" not in answers.value and "ValueError: cannot read &lt;img" in answers.value


def test_an_empty_sentence_gets_a_message_and_no_model_is_asked():
    _, button, answers = box({"model": lambda text: pytest.fail("asked")}, "   ")
    button.click()
    assert "Type a sentence first" in answers.value and "ftkit-row" not in answers.value
    assert not button.disabled


def test_a_model_that_fails_on_the_first_sentence_fails_the_cell():
    with pytest.raises(ZeroDivisionError):
        box({"model": lambda text: 1 / 0})


def test_sliders_draw_at_once_and_again_for_every_new_value():
    asked = []

    def draw(rank, alpha):
        asked.append((rank, alpha))
        return style.empty()

    widget, words = widgets.build_sliders(draw, {"rank": (1, 16, 4), "alpha": (1.0, 32.0, 8.0)})
    rank, alpha, view = widget.children
    assert isinstance(rank, ipywidgets.IntSlider) and isinstance(alpha, ipywidgets.FloatSlider)
    assert (rank.min, rank.max, alpha.min, alpha.max, alpha.step) == (1, 16, 1.0, 32.0, 1.0)
    assert words.startswith("rank = 4, alpha = 8") and 'alt="rank = 4, alpha = 8"' in view.value
    rank.value = 9
    assert asked == [(4, 8.0), (9, 8.0)] and 'alt="rank = 9, alpha = 8"' in view.value


def test_a_value_that_cannot_be_drawn_gets_a_message_in_the_pictures_place():
    def draw(rank):
        if rank > 8:
            raise ValueError("rank <9 expected")
        return style.empty()

    widget, _ = widgets.build_sliders(draw, {"rank": (1, 16, 4)})
    widget.children[0].value = 12
    assert "rank = 12: ValueError: rank &lt;9 expected" in widget.children[1].value


def test_sliders_that_cannot_be_are_refused():
    for ranges in ({}, {"rank": (1, 16)}, {"rank": (1, 16, 99)}, {"rank": (4, 4, 4)}):
        with pytest.raises(ValueError, match="lowest, highest, first"):
            widgets.build_sliders(lambda **values: style.empty(), ranges)


def test_progress_fills_a_square_for_each_solved_exercise(monkeypatch, tmp_path, capsys):
    def exercise(number):
        return Exercise(number, lambda: 1, lambda: [()], ("a", "b"), ())

    course = {"02_cross_entropy": (exercise("02.1"),), "18_lora": (exercise("18.1"), exercise("18.2"))}
    monkeypatch.setattr(sys.modules["course.check"], "catalogue", lambda: course)
    monkeypatch.setenv("FTKIT_PROGRESS", str(tmp_path / "progress.json"))
    exercise_file.remember("18.2")
    show.exercise_progress()
    assert capsys.readouterr().out.startswith("1 of 3 exercises solved")
    lines = (
        solved.strips({stem: [e.number for e in row] for stem, row in course.items()}, ["18.2"]).axes[0].lines
    )
    filled = [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in lines if line.get_markerfacecolor() != "white"
    ]
    assert filled == [(1, 1)] and len(lines) == 3
    assert to_rgba(lines[0].get_markeredgecolor()) == to_rgba(style.QUIET)


NOTEBOOK = """
import matplotlib.pyplot as plt
from course import show
from ftkit.records import Step
from ftkit.tasks.classification import Prediction
---
fig, ax = plt.subplots()
ax.plot([1, 2])
show.figure(fig, "A line that rises.")
---
curve = show.LiveCurve("loss")
for i in range(8):
    curve.add(Step(i, 8, 0, 1 / (i + 1), 1e-3, 1.0, 32, 900, 0.1))
---
show.sentence_box({"model": lambda text: Prediction("negative", 0.9, {})}, value="Cold.")
---
show.sliders(lambda rank: show.bars({"rank": rank}), rank=(1, 8, 4))
---
show.table([{"strategy": "LoRA"}])
"""


@pytest.fixture(scope="module")
def notebook():
    """The outputs of each cell, as a kernel leaves them in the file."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in NOTEBOOK.split("---\n")]
    return [
        c.outputs
        for c in nbclient.execute(
            nbformat.v4.new_notebook(cells=cells), cwd=root() / "notebooks", timeout=120
        ).cells
    ]


def test_a_notebook_shows_a_figure_once_with_alternative_text_and_caption(notebook):
    picture, caption = notebook[1]
    assert picture.data["text/plain"] == picture.metadata["image/png"]["alt"] == "A line that rises."
    assert "image/png" in picture.data and caption.data["text/markdown"] == "*A line that rises.*"


def test_a_live_curve_leaves_one_picture_of_the_whole_run_in_the_file(notebook):
    (picture,) = notebook[2]
    assert "image/png" in picture.data
    assert picture.data["text/plain"] == "loss: 1.000 at update 1, 0.125 at update 8 of 8"


def test_widgets_leave_their_first_state_in_words(notebook):
    (answers,), (picture,) = notebook[3], notebook[4]
    for output in (answers, picture):
        assert "application/vnd.jupyter.widget-view+json" in output.data
    assert answers.data["text/plain"] == "Cold.\n  model: negative 90%"
    assert picture.data["text/plain"].startswith("rank = 4")


def test_a_table_is_markdown_in_a_notebook(notebook):
    assert notebook[5][0].data["text/markdown"] == "| strategy |\n| :-- |\n| LoRA |"
