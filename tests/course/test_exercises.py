"""Every exercise of the course, and the machinery that checks it."""

import importlib
import json

import pytest
import torch
from course import check, claim, hint, solution
from course.check import catalogue, examine, find
from course.records import Exercise
from course.records import wrong as marked

EVERY = [pytest.param(e, id=e.number) for exercises in catalogue().values() for e in exercises]
EVERY_WRONG = [
    pytest.param(e, w, id=f"{e.number}-{i}")
    for exercises in catalogue().values()
    for e in exercises
    for i, w in enumerate(e.wrong, 1)
]


@pytest.fixture(autouse=True)
def progress(tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def halve(numbers):
    return [n / 2 for n in numbers]


def floor_halve(numbers):
    return [n // 2 for n in numbers]


def double(numbers):
    return [n * 2 for n in numbers]


TOY = Exercise(
    number="18.1",
    reference=halve,
    cases=lambda: [([1.0, 2.0],), ([3.0],)],
    hints=("think", "divide by two"),
    wrong=(marked("you divided with //, which rounds")(floor_halve), marked("you multiplied")(double)),
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(importlib.import_module("course.check"), "find", lambda number: TOY)
    return TOY


def test_the_catalogue_has_at_least_three_exercises_for_each_notebook_that_has_any():
    assert catalogue()
    assert {stem: len(es) for stem, es in catalogue().items() if len(es) < 3} == {}


def test_the_numbers_are_those_of_the_notebook_and_unique():
    for stem, exercises in catalogue().items():
        numbers = [e.number for e in exercises]
        assert numbers == [f"{stem[:2]}.{i}" for i in range(1, len(numbers) + 1)]
        assert all(find(n).number == n for n in numbers)


@pytest.mark.parametrize("exercise", EVERY)
def test_the_reference_passes(exercise):
    assert examine(exercise, exercise.reference) == ("✓", "right")


@pytest.mark.parametrize("exercise", EVERY)
def test_the_stub_is_not_attempted(exercise):
    assert examine(exercise, lambda *arguments: None)[0] == "⏳"


@pytest.mark.parametrize("exercise", EVERY)
def test_hints_and_wrong_answers_are_there(exercise):
    assert len(exercise.hints) >= 2
    assert len(exercise.wrong) >= 2
    assert len({w.diagnosis for w in exercise.wrong}) == len(exercise.wrong)


@pytest.mark.parametrize(("exercise", "wrong"), EVERY_WRONG)
def test_each_wrong_answer_is_refused_with_its_own_diagnosis(exercise, wrong):
    assert examine(exercise, wrong) == ("✗", wrong.diagnosis)


@pytest.mark.parametrize("exercise", EVERY)
def test_an_answer_that_raises_is_refused_with_the_error(exercise):
    def broken(*arguments):
        raise ZeroDivisionError("on purpose")

    verdict, says = examine(exercise, broken)
    assert verdict == "✗" and "ZeroDivisionError: on purpose" in says


@pytest.mark.parametrize("exercise", EVERY)
def test_the_solution_shows_the_reference_and_the_hints_come_one_by_one(exercise, capsys):
    solution(exercise.number)
    assert f"def {exercise.reference.__name__}(" in capsys.readouterr().out
    for place, text in enumerate(exercise.hints, 1):
        hint(exercise.number)
        assert capsys.readouterr().out == f"hint {place} of {len(exercise.hints)}: {text}\n"


def test_check_gives_a_right_answer_back_and_the_reference_for_a_wrong_one(toy, capsys):
    def mine(numbers):
        return [0.5 * n for n in numbers]

    assert check("18.1", mine) is mine
    assert check("18.1", double) is halve
    assert check("18.1", lambda numbers: None) is halve
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in lines] == ["✓ 18.1 ", "✗ 18.1 ", "⏳ 18.1 "]
    assert "you multiplied" in lines[1]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda numbers: "half", "expected a list of 2, found str"),
        (lambda numbers: [0.5], "expected 2 values, found 1"),
        (lambda numbers: [0.5, 7.0], "case 1: value 1: expected 1, found 7"),
        (lambda numbers: [float("nan")] * len(numbers), "found nan"),
    ],
)
def test_an_uncatalogued_wrong_answer_is_told_its_first_difference(answer, says):
    verdict, reason = examine(TOY, answer)
    assert verdict == "✗" and says in reason


def test_tensors_are_compared_by_shape_then_by_value():
    exercise = Exercise("18.9", lambda x: x + 1, lambda: [(torch.zeros(2, 3),)], ("a", "b"), ())
    assert "expected shape (2, 3), found (3, 2)" in examine(exercise, lambda x: (x + 1).T)[1]
    assert (
        "at [1, 2]; 1 of 6 differ"
        in examine(exercise, lambda x: x + 1 + torch.eye(3)[[1, 2]] * torch.tensor([0, 0, 1]))[1]
    )
    assert examine(exercise, lambda x: x + 1 + 1e-7)[0] == "✓"


def test_an_answer_cannot_change_the_cases_of_the_next():
    def destructive(numbers):
        found = halve(numbers)
        numbers.clear()
        return found

    assert examine(TOY, destructive)[0] == "✓"
    assert examine(TOY, halve)[0] == "✓"


def test_a_solved_exercise_is_remembered_once_and_others_are_kept(toy, progress):
    progress.write_text(json.dumps({"solved": {"00.1": "2026-01-01"}}))
    check("18.1", double)
    assert json.loads(progress.read_text()) == {"solved": {"00.1": "2026-01-01"}}
    check("18.1", halve)
    check("18.1", halve)
    assert list(json.loads(progress.read_text())["solved"]) == ["00.1", "18.1"]


def test_a_damaged_progress_file_is_named_and_not_overwritten(toy, progress):
    progress.write_text("not json")
    with pytest.raises(ValueError, match=r"progress\.json: expected JSON"):
        check("18.1", halve)
    assert progress.read_text() == "not json"


def test_an_unknown_number_lists_the_known_ones():
    stem, exercises = next(iter(catalogue().items()))
    with pytest.raises(ValueError, match=exercises[0].number):
        check(f"{stem[:2]}.99", halve)
    with pytest.raises(ValueError, match="this notebook has none"):
        check("77.1", halve)


@pytest.mark.parametrize(
    ("value", "bound", "line"),
    [
        (0.5, {"below": 1}, "✓ 1.1  so (below 1)\n"),
        (torch.tensor(2.0), {"above": 1.5}, "✓ 1.1  so (above 1.5)\n"),
        (3, {"between": (3, 4)}, "✓ 1.1  so (between 3 and 4)\n"),
        (True, {"equals": True}, "✓ 1.1  so (true)\n"),
        (7, {"equals": 7}, "✓ 1.1  so (exactly 7)\n"),
    ],
)
def test_a_true_claim_prints_its_bound_and_no_measured_digit(value, bound, line, capsys):
    claim("1.1", "so", value, **bound)
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (1.0, {"below": 1}),
        (1.0, {"above": 1}),
        (float("nan"), {"below": 1}),
        (2.9, {"between": (3, 4)}),
        (1, {"equals": True}),
        (torch.tensor(8), {"equals": 7}),
    ],
)
def test_a_false_claim_raises_with_the_measured_value(value, bound):
    measured = value.item() if hasattr(value, "item") else value
    with pytest.raises(AssertionError, match=f"claim 1.1 is false: so; expected .*, measured {measured}$"):
        claim("1.1", "so", value, **bound)


def test_a_claim_needs_exactly_one_bound():
    with pytest.raises(ValueError, match="found none"):
        claim("1.1", "so", 1.0)
    with pytest.raises(ValueError, match="found below, above"):
        claim("1.1", "so", 1.0, below=2, above=0)


def test_claims_are_logged_with_what_they_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FTKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    claim("1.1", "so", 0.5, below=1)
    with pytest.raises(AssertionError):
        claim("1.2", "no", 2.0, below=1)
    entries = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    assert [(e["claim"], e["measured"], e["holds"]) for e in entries] == [
        ("1.1", 0.5, True),
        ("1.2", 2.0, False),
    ]
