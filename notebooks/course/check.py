"""check, case, hint, solution: an answer is held against the reference and against known wrong answers."""

from __future__ import annotations

import copy
import dis
import importlib
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from .compare import difference, shown
from .forms import Form, as_form, convert, form_of, one_form
from .progress import remember
from .records import Exercise, call

ANSWERS = Path(__file__).parent / "answers"
REFERENCE = "the cells below use the reference solution"
# what a stub consists of
NOTHING = ("RESUME", "NOP", "LOAD_CONST", "POP_TOP", "RETURN_CONST", "RETURN_VALUE")
_hints_shown: Counter[str] = Counter()


@dataclass(frozen=True)
class Outcome:
    """What an answer did on one case."""

    raised: str = ""  # "ZeroDivisionError: division by zero"; empty where it returned
    value: Any = None


@dataclass(frozen=True)
class Verdict:
    """What is printed about an answer."""

    sign: str  # ⏳ not attempted, ✗ wrong, ✓ right
    reason: str
    example: str = ""  # the first failing case: its input, what was expected, what came back
    form: Form | None = None  # into which a right answer's results are converted, where they have another one


def catalogue() -> dict[str, tuple[Exercise, ...]]:
    """Every notebook's exercises, by the notebook's name without its ending."""
    stems = sorted(p.stem.removeprefix("n") for p in ANSWERS.glob("n[0-9][0-9]*_*.py"))
    return {stem: importlib.import_module(f"course.answers.n{stem}").EXERCISES for stem in stems}


def find(number: str) -> Exercise:
    """The exercise of that number; ValueError lists the notebook's numbers for one that does not exist."""
    files = sorted(ANSWERS.glob(f"n{number.partition('.')[0]}_*.py"))
    exercises = importlib.import_module(f"course.answers.{files[0].stem}").EXERCISES if files else ()
    for exercise in exercises:
        if exercise.number == number:
            return exercise
    known = ", ".join(e.number for e in exercises) or "none"
    raise ValueError(f"expected the number of an exercise, got {number!r}; this notebook has {known}")


def check(number: str, answer: Callable) -> Callable:
    """Print ⏳ (not attempted), ✗ with a reason, or ✓; return the answer if it is right, else the reference.

    So a notebook runs to its end whatever the learner has written. The results of a right answer that have
    another form than the reference's (a list for a tensor, a tensor for a float) are converted from then on.
    """
    exercise = find(number)
    verdict = examine(exercise, answer)
    print(f"{verdict.sign} {number}  {verdict.reason}")
    if verdict.example:
        print(f"    {verdict.example}")
    if verdict.sign != "✓":
        return exercise.reference
    remember(number)
    return answer if verdict.form is None else as_form(answer, verdict.form)


def examine(exercise: Exercise, answer: Callable) -> Verdict:
    """The verdict on an answer, without printing or remembering anything."""
    expected, expected_forms = outcomes(exercise, exercise.reference)
    wanted = one_form(expected_forms)
    given, forms = outcomes(exercise, answer, form=None if exercise.use is call else wanted)
    if not any(o.raised or _has_value(o) for o in given):
        if _is_stub(answer) or any(o.value is ... for o in given):
            return Verdict("⏳", f'not attempted yet; hint("{exercise.number}") helps; {REFERENCE}')
        if all(form is None for form in forms):
            return Verdict("✗", f"it returned None: is a `return` missing? {REFERENCE.capitalize()}")
    differences = _differences(exercise, expected, given)
    if differences:
        reason = _diagnosis(exercise, expected, given, differences) or "not the expected result"
        return Verdict("✗", f"{reason}; {REFERENCE}", _example(exercise, *next(iter(differences.items()))))
    forbidden = sorted(set(exercise.banned) & set(_names(getattr(answer, "__code__", None))))
    if forbidden and answer is not exercise.reference:
        written = f"written with {', '.join(forbidden)}; do it without"
        return Verdict("✗", f"the values are right, and {written}; {REFERENCE}")
    has = one_form(forms)
    others = [form for form in forms if form not in expected_forms]  # a mask that is bool in some cases only
    if exercise.exact and others:
        types = f"expected {wanted}, got {others[0]}: here the type counts"
        return Verdict("✗", f"the values are right; {types}; {REFERENCE}")
    return Verdict("✓", "right", form=None if has == wanted else wanted)


def case(number: str, place: int) -> tuple:
    """The arguments of one of the exercise's cases, counted from 1, to try an answer on."""
    cases = find(number).cases()
    if not 1 <= place <= len(cases):
        raise ValueError(f"expected a case of {number} from 1 to {len(cases)}, got {place}")
    return cases[place - 1]


def outcomes(
    exercise: Exercise, answer: Callable, *, form: Form | None = None
) -> tuple[list[Outcome], list[Form | None]]:
    """(what the answer does on each case; the form of whatever it returned when it was called).

    With `form` its results are converted before the exercise goes on with them, where they can be.
    """
    forms: list[Form | None] = []

    def recorded(*arguments, **named):
        value = answer(*arguments, **named)
        forms.append(form_of(value))
        try:
            return convert(value, form)
        except (TypeError, ValueError, RuntimeError):  # not the same values in another form: a wrong answer
            return value

    results = []
    for arguments in copy.deepcopy(exercise.cases()):
        try:
            results.append(Outcome(value=exercise.use(recorded, arguments)))
        except Exception as error:  # a learner's mistake is the subject here, so it becomes a reason
            results.append(Outcome(raised=f"{type(error).__name__}: {error}"))
    return results, forms


def hint(number: str) -> None:
    """Print one more hint at every call; after the last one, start again."""
    hints = find(number).hints
    place = _hints_shown[number] % len(hints)
    _hints_shown[number] += 1
    print(f"hint {place + 1} of {len(hints)}: {hints[place]}")


def solution(number: str) -> None:
    """Print the reference."""
    print(textwrap.dedent(inspect.getsource(find(number).reference)).rstrip())


def _has_value(outcome: Outcome) -> bool:
    return outcome.value is not None and outcome.value is not ...


def _is_stub(answer: Callable) -> bool:
    code = getattr(answer, "__code__", None)
    return code is not None and all(step.opname in NOTHING for step in dis.get_instructions(code))


def _names(code: CodeType | None) -> Iterator[str]:
    """The names that a function reads, calls or takes from a module, nested functions included."""
    if code is not None:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _names(constant)


def _differences(exercise: Exercise, expected: list[Outcome], given: list[Outcome]) -> dict[int, str]:
    """{the case's number from 1: what differs there}."""
    differences = {}
    for number, (right, own) in enumerate(zip(expected, given, strict=True), 1):
        reason = _difference(right, own, exercise.tolerance)
        if reason:
            differences[number] = reason
    return differences


def _difference(expected: Outcome, given: Outcome, tolerance: float) -> str | None:
    if expected.raised:
        kind = expected.raised.partition(":")[0]
        if not given.raised:
            return f"expected a {kind}, got {shown(given.value)}"
        return None if given.raised.partition(":")[0] == kind else f"expected a {kind}, got {given.raised}"
    if given.raised:
        return f"expected {shown(expected.value)}, got {given.raised}"
    if given.value is None and expected.value is not None:
        return "it returned None: is a `return` missing in one branch?"
    return difference(expected.value, given.value, tolerance=tolerance)


def _diagnosis(exercise: Exercise, expected: list, given: list, differences: dict[int, str]) -> str | None:
    """Of the known wrong answers that do the same on the first failing case, the one that explains most."""
    first, best, explained = next(iter(differences)), None, 0
    for wrong in exercise.wrong:
        results, _ = outcomes(exercise, wrong)
        others = _differences(exercise, results, given)
        if not others:
            return wrong.diagnosis
        alike = differences.keys() - others.keys()
        if first in alike and len(alike) > explained:
            best, explained = wrong, len(alike)
    if best is None:
        return None
    return f"{best.diagnosis} (so it looks in case {first}; another case shows a second difference)"


def _example(exercise: Exercise, number: int, reason: str) -> str:
    arguments = exercise.cases()[number - 1]
    names = list(inspect.signature(exercise.reference).parameters)
    named = zip(names, arguments, strict=False) if len(names) >= len(arguments) else ()
    inputs = ", ".join(f"{name}={shown(value)}" for name, value in named)
    begin = f"case {number}: {inputs}: " if inputs else f"case {number}: "
    return f'{begin}{reason}; case("{exercise.number}", {number}) gives the input'
