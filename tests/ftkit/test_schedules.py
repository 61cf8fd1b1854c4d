"""Schedules against points computed by hand."""

import pytest

from ftkit.schedules import SCHEDULES, multiplier

SHAPES = [(total, warmup) for total in (1, 2, 3, 10, 47, 1000) for warmup in (0.0, 0.05, 0.1, 0.5, 1.0)]


def curve(name, total, warmup):
    return [multiplier(name, step, total, warmup) for step in range(total)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_multiplier_is_above_0_and_at_most_1(name):
    for total, warmup in SHAPES:
        assert all(0 < value <= 1 for value in curve(name, total, warmup)), (total, warmup)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_rises_to_1_and_never_rises_again(name):
    for total, warmup in SHAPES:
        values = curve(name, total, warmup)
        peak = values.index(max(values))
        assert values[peak] == 1
        assert values[: peak + 1] == sorted(values[: peak + 1])
        assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(
    ("total", "warmup", "length"), [(100, 0.1, 10), (10, 0.3, 3), (10, 1.0, 10), (10, 0.0, 1)]
)
def test_the_warm_up_is_a_straight_line_of_the_length_asked_for(name, total, warmup, length):
    expected = [(step + 1) / length for step in range(length)]
    assert curve(name, total, warmup)[:length] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_last_update_is_small(name):
    assert 0 < curve(name, 100, 0.1)[-1] <= 1 / 91


def test_the_slanted_triangle_is_the_formula_of_its_paper():
    total, cut_frac, ratio = 200, 0.1, 32
    cut = int(total * cut_frac)
    for t, found in enumerate(curve("slanted_triangular", total, cut_frac)):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        assert found == pytest.approx((1 + p * (ratio - 1)) / ratio)


@pytest.mark.parametrize(
    ("name", "total", "warmup", "expected"),
    [
        ("constant", 4, 0.5, [0.5, 1, 1, 1]),
        ("constant", 3, 0.0, [1, 1, 1]),
        ("linear", 4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        ("linear", 10, 0.2, [1 / 2, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9]),
        ("cosine", 3, 0.0, [1, 0.75, 0.25]),  # cos 60° = 1/2, cos 120° = -1/2
        ("cosine", 4, 0.5, [0.5, 1, 0.75, 0.25]),
        ("cosine", 4, 0.0, [1, 0.8535534, 0.5, 0.1464466]),  # cos 45° = √2 / 2
    ],
)
def test_values_are_those_computed_by_hand(name, total, warmup, expected):
    assert curve(name, total, warmup) == pytest.approx(expected, abs=1e-6)


def test_an_unknown_schedule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"constant, linear, cosine, slanted_triangular.*'cosin'"):
        multiplier("cosin", 0, 10, 0.1)
