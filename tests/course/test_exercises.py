"""Every exercise of the course, and the machinery that checks it."""

import ast
import configparser
import importlib
import json
import re
from pathlib import Path

import numpy
import pytest
import torch
from course import case, check, claim, hint, solution
from course.author.notebook import calls, notebooks, read, root
from course.check import catalogue, examine, find
from course.forms import Form, convert, form_of, one_form
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
        assert numbers == [f"{stem.partition('_')[0]}.{i}" for i in range(1, len(numbers) + 1)]
        assert all(find(n).number == n for n in numbers)


@pytest.mark.parametrize("exercise", EVERY)
def test_the_reference_passes(exercise):
    verdict = examine(exercise, exercise.reference)
    assert (verdict.sign, verdict.reason, verdict.form) == ("✓", "right", None)


@pytest.mark.parametrize("exercise", EVERY)
def test_the_stub_is_not_attempted(exercise):
    assert examine(exercise, lambda *arguments: None).sign == "⏳"


def stubs():
    """(number, the exercise cell's code) of every notebook."""
    for file in notebooks(root()):
        for cell in read(file).cells:
            for number in calls(cell, "check") if cell.cell_type == "code" else ():
                yield pytest.param(number, cell.source, id=number)


@pytest.mark.parametrize(("number", "source"), stubs())
def test_the_notebooks_own_stub_is_not_attempted(number, source):
    verdicts = []
    names = {"torch": torch, "check": lambda number, answer: verdicts.append(examine(find(number), answer))}
    own = ast.parse(source)
    own.body = [node for node in own.body if hasattr(node, "name") or "check(" in ast.unparse(node)]
    exec(compile(own, "the cell", "exec"), names)
    assert {verdict.sign for verdict in verdicts} == {"⏳"}


@pytest.mark.parametrize("exercise", EVERY)
def test_hints_and_wrong_answers_are_there(exercise):
    assert len(exercise.hints) >= 2
    assert len(exercise.wrong) >= 2
    assert len({w.diagnosis for w in exercise.wrong}) == len(exercise.wrong)


@pytest.mark.parametrize(("exercise", "wrong"), EVERY_WRONG)
def test_each_wrong_answer_is_refused_with_its_own_diagnosis(exercise, wrong):
    verdict = examine(exercise, wrong)
    assert verdict.sign == "✗" and verdict.reason.startswith(f"{wrong.diagnosis}; ")
    assert re.match(r"case \d+: ", verdict.example)


@pytest.mark.parametrize("exercise", EVERY)
def test_an_answer_that_raises_is_refused_with_the_error(exercise):
    def broken(*arguments):
        raise ZeroDivisionError("on purpose")

    verdict = examine(exercise, broken)
    assert verdict.sign == "✗" and "ZeroDivisionError: on purpose" in verdict.example


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
    assert capsys.readouterr().out == (
        "✓ 18.1  right\n"
        "✗ 18.1  you multiplied; the cells below use the reference solution\n"
        '    case 1: numbers=[1.0, 2.0]: value 0: expected 0.5, got 2; case("18.1", 1) gives the input\n'
        '⏳ 18.1  not attempted yet; hint("18.1") helps; the cells below use the reference solution\n'
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda numbers: "half", "expected a list of 2 values, got 'half', which is of type str"),
        (lambda numbers: [0.5], "expected 2 values, [0.5, 1.0], got 1, [0.5]"),
        (lambda numbers: [0.5, 7.0], "case 1: numbers=[1.0, 2.0]: value 1: expected 1, got 7"),
        (lambda numbers: [float("nan")] * len(numbers), "got nan"),
        (
            lambda numbers: halve(numbers) if len(numbers) > 1 else None,
            "is a `return` missing in one branch?",
        ),
    ],
)
def test_an_uncatalogued_wrong_answer_is_told_its_first_difference(answer, says):
    verdict = examine(TOY, answer)
    assert verdict.sign == "✗" and says in verdict.example
    assert verdict.reason == "not the expected result; the cells below use the reference solution"


def test_a_forgotten_return_is_told_from_a_stub():
    def forgot(numbers):
        [n / 2 for n in numbers]

    def stub(numbers):
        """Halve them."""
        ...

    assert examine(TOY, stub).sign == "⏳"
    verdict = examine(TOY, forgot)
    assert verdict.sign == "✗" and "is a `return` missing?" in verdict.reason


def test_two_mistakes_at_once_get_the_diagnosis_of_the_one_that_shows_first():
    def two(numbers):
        return [n * 2 for n in numbers] if len(numbers) > 1 else [0.0]

    verdict = examine(TOY, two)
    assert verdict.reason.startswith("you multiplied (so it looks in case 1; ")

    def other(numbers):
        return [9.0] * len(numbers) if len(numbers) > 1 else [n * 2 for n in numbers]

    assert examine(TOY, other).reason.startswith("not the expected result")


def test_a_case_gives_the_input_and_refuses_a_number_that_is_none(toy):
    assert case("18.1", 2) == ([3.0],)
    for place in (0, 3):
        with pytest.raises(ValueError, match=f"expected a case of 18.1 from 1 to 2, got {place}"):
            case("18.1", place)


def test_a_ban_is_enforced_by_reading_the_answer():
    exercise = Exercise(
        "18.9",
        lambda x: x.exp().sum().log(),
        lambda: [(torch.tensor([1.0, 2.0]),)],
        ("a", "b"),
        (),
        banned=("logsumexp",),
    )
    by_hand, by_method = (
        examine(exercise, lambda x: x.exp().sum().log()),
        examine(exercise, lambda x: x.logsumexp(0)),
    )
    nested = examine(exercise, lambda x: (lambda y: torch.logsumexp(y, 0))(x))
    assert by_hand.sign == "✓"
    assert {by_method.sign, nested.sign} == {"✗"}
    assert "the values are right, and written with logsumexp; do it without" in by_method.reason


def unusual(value):
    """The same values in every other form that a learner may return them in."""
    if isinstance(value, bool):
        return [torch.tensor(value), numpy.bool_(value), int(value), float(value), numpy.array(value)]
    if isinstance(value, int):
        forms = [float(value), torch.tensor(value), torch.tensor([value]), torch.tensor(float(value))]
        forms += [numpy.int64(value), numpy.int32(value), numpy.float64(value), numpy.array(value)]
        return [
            *forms,
            torch.tensor(value, dtype=torch.int32),
            numpy.array([value]),
            torch.tensor(value).double(),
        ]
    if isinstance(value, float):
        double = torch.tensor(value, dtype=torch.float64)
        forms = [
            double,
            torch.tensor(value),
            double[None],
            double.reshape(1, 1),
            double.clone().requires_grad_(),
        ]
        forms += [numpy.float64(value), numpy.array(value), numpy.array([value]), numpy.float32(value)]
        return [*forms, double.numpy(), torch.nn.Parameter(double)]
    if isinstance(value, torch.Tensor) and value.requires_grad:  # its gradient is asked for
        return [value.clone(), value.double(), list(value) if value.dim() else [value][0]]
    if isinstance(value, torch.Tensor):
        plain = value.detach()
        forms = [plain.tolist(), plain.numpy(), plain.clone(), plain.double().numpy(), plain.contiguous()]
        forms += [plain.double(), plain.float() + 0, tuple(plain.tolist()) if plain.dim() else plain.item()]
        forms += [list(plain) if plain.dim() else [plain][0], numpy.array(plain.tolist())]
        if plain.dim() and not plain.is_floating_point():
            forms += [plain.int(), plain.long()]
        return forms
    if isinstance(value, (list, tuple)) and value and all(type(v) in (int, float) for v in value):
        tensor = torch.tensor(value, dtype=torch.float64)
        forms = [
            list(value),
            tuple(value),
            tensor,
            tensor.numpy(),
            list(tensor),
            tuple(tensor),
            [*tensor.numpy()],
        ]
        return [
            *forms,
            list(map(float, value)),
            tensor.float() if tensor.abs().max() < 1e4 else tensor,
            [*value],
        ]
    if isinstance(value, (list, tuple)):
        forms = [list(value), tuple(value)]
        alike = {getattr(v, "shape", None) for v in value}
        if (
            value
            and None not in alike
            and len(alike) == 1
            and all(isinstance(v, torch.Tensor) for v in value)
        ):
            forms.append(torch.stack(list(value)))
        return forms
    return []


@pytest.mark.parametrize(
    "kind", [True, 3, 0.25, [1.0, 2.5], torch.tensor([[0.5, 2.0]]), torch.tensor([1, 2])]
)
def test_there_are_ten_unusual_forms_of_each_kind_of_value(kind):
    assert len(unusual(kind)) >= (5 if kind is True else 10)


@pytest.mark.parametrize("exercise", EVERY)
def test_unusual_right_forms_pass_and_are_converted_to_the_references(exercise):
    """So whatever is accepted runs the following cells: they get what the reference would give them."""
    for place in range(12):

        def answer(*arguments, place=place):
            value = exercise.reference(*arguments)
            forms = unusual(value)
            return forms[place] if place < len(forms) else value

        verdict = examine(exercise, answer)
        if exercise.exact and verdict.sign == "✗":
            assert "here the type counts" in verdict.reason
            continue
        assert verdict.sign == "✓", (place, verdict)
        if verdict.form is not None:
            arguments = exercise.cases()[0]
            if exercise.use.__name__ == "call":
                converted = convert(answer(*arguments), verdict.form)
                assert form_of(converted) == form_of(exercise.reference(*exercise.cases()[0])), place


def test_converting_keeps_gradients_and_a_dtype_of_the_inputs():
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    form = Form("tensor", "float32")
    assert convert(weight * 2, form).dtype == torch.float32
    kept = convert(weight * 2, form, own=frozenset({torch.float64}))
    assert kept.dtype == torch.float64 and kept.requires_grad
    assert convert([weight[0], weight[1]], form).requires_grad
    assert (
        convert(torch.tensor([1, 0]), Form("tensor", "bool"), own=frozenset({torch.int64})).dtype
        == torch.bool
    )
    assert one_form([None, Form("float")]) == Form("float")


def test_where_the_type_counts_another_type_is_refused():
    codes = Exercise(
        "19.9", lambda x: x.to(torch.int8), lambda: [(torch.ones(2),)], ("a", "b"), (), exact=True
    )
    assert examine(codes, lambda x: x.to(torch.int8)).sign == "✓"
    verdict = examine(codes, lambda x: x)
    assert verdict.sign == "✗" and "expected tensor of int8, got tensor of float32" in verdict.reason


def test_tensors_are_compared_by_shape_then_by_value():
    exercise = Exercise("18.9", lambda x: x + 1, lambda: [(torch.zeros(2, 3),)], ("a", "b"), ())
    assert "expected shape (2, 3), got (3, 2)" in examine(exercise, lambda x: (x + 1).T).example
    one = torch.eye(3)[[1, 2]] * torch.tensor([0, 0, 1])
    assert "got [[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]]" in examine(exercise, lambda x: x + 1 + one).example
    assert examine(exercise, lambda x: x + 1 + 1e-7).sign == "✓"
    large = Exercise("18.9", lambda x: x + 1, lambda: [(torch.zeros(5, 3),)], ("a", "b"), ())
    shifted = examine(large, lambda x: x + 1 + torch.eye(5, 3))
    assert "expected 1, got 2 at [0, 0]; 3 of 15 differ" in shifted.example
    assert "x=a tensor of shape (5, 3)" in shifted.example


def test_an_answer_cannot_change_the_cases_of_the_next():
    def destructive(numbers):
        found = halve(numbers)
        numbers.clear()
        return found

    assert examine(TOY, destructive).sign == "✓"
    assert examine(TOY, halve).sign == "✓"


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
        (0.51239, {"below": 1}, "✓ 01.1  so: 0.512  (below 1)\n"),
        (torch.tensor(2.0), {"above": 1.5}, "✓ 01.1  so: 2  (above 1.5)\n"),
        (3000, {"between": (3, 4000)}, "✓ 01.1  so: 3,000  (3 to 4000)\n"),
        (True, {"equals": True}, "✓ 01.1  so\n"),
        (7, {"equals": 7}, "✓ 01.1  so: 7\n"),
    ],
)
def test_a_true_claim_prints_what_was_measured_and_its_bound(value, bound, line, capsys):
    claim("01.1", "so", value, **bound)
    assert capsys.readouterr().out == line


def sanitized(text: str) -> str:
    """What nbval compares: as it applies the patterns."""
    patterns = configparser.RawConfigParser()
    patterns.read(Path(__file__).parent / "sanitize.cfg")
    for section in patterns.sections():
        text = re.sub(patterns.get(section, "regex"), patterns.get(section, "replace"), text)
    return text


def test_nbval_compares_a_claims_sentence_and_bound_and_not_the_measured_value(capsys):
    lines = []
    for text, value, bound in (
        ("so: it is", 0.5, {"below": 1}),
        ("so: it is", 0.25, {"below": 1}),
        ("so: it is", 0.25, {"below": 2}),
        ("so: it was", 0.25, {"below": 1}),
        ("so: it is", 7, {"equals": 7}),
        ("so: it is", 8, {"equals": 8}),
    ):
        claim("02b.1", text, value, **bound)
        lines.append(sanitized(f"before\n{capsys.readouterr().out}(after)\n"))
    assert lines[0] == lines[1] == "before\n✓ 02b.1  so: it is: VALUE  (below 1)\n(after)\n"
    assert len({lines[0], *lines[2:]}) == 5


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
    with pytest.raises(ValueError, match="got none"):
        claim("1.1", "so", 1.0)
    with pytest.raises(ValueError, match="got below, above"):
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
