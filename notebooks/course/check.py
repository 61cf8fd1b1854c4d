"""check, hint, solution: an answer is compared with the reference and, if wrong, with known wrong answers."""

from __future__ import annotations

import copy
import importlib
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .compare import difference
from .progress import remember
from .records import Exercise

ANSWERS = Path(__file__).parent / "answers"
_hints_shown: Counter[str] = Counter()


def catalogue() -> dict[str, tuple[Exercise, ...]]:
    """Every notebook's exercises, by the notebook's name without its ending."""
    stems = sorted(p.stem.removeprefix("n") for p in ANSWERS.glob("n[0-9][0-9]_*.py"))
    return {stem: importlib.import_module(f"course.answers.n{stem}").EXERCISES for stem in stems}


def find(number: str) -> Exercise:
    """The exercise of that number; ValueError lists the notebook's numbers for one that does not exist."""
    files = sorted(ANSWERS.glob(f"n{number.partition('.')[0]}_*.py"))
    exercises = importlib.import_module(f"course.answers.{files[0].stem}").EXERCISES if files else ()
    for exercise in exercises:
        if exercise.number == number:
            return exercise
    known = ", ".join(e.number for e in exercises) or "none"
    raise ValueError(f"expected the number of an exercise, found {number!r}; this notebook has {known}")


def check(number: str, answer: Callable) -> Callable:
    """Print ⏳ (not attempted), ✗ with a reason, or ✓; return the answer if it is right, else the reference.

    So a notebook runs to its end whatever the learner has written.
    """
    exercise = find(number)
    verdict, says = examine(exercise, answer)
    print(f"{verdict} {number}  {says}")
    if verdict != "✓":
        return exercise.reference
    remember(number)
    return answer


def examine(exercise: Exercise, answer: Callable) -> tuple[str, str]:
    """(sign, sentence) for an answer, without printing or remembering anything."""
    expected = outcomes(exercise, exercise.reference)
    found = outcomes(exercise, answer)
    if all(kind == "result" and value in (None, ...) for kind, value in map(_plain, found)):
        return "⏳", f'not attempted yet; hint("{exercise.number}") helps'
    reason = _first_difference(expected, found, exercise.tolerance)
    if reason is None:
        return "✓", "right"
    for wrong in exercise.wrong:
        if _first_difference(outcomes(exercise, wrong), found, exercise.tolerance) is None:
            return "✗", wrong.diagnosis
    return "✗", f"{reason}; the code below goes on with the reference"


def outcomes(exercise: Exercise, answer: Callable) -> list[tuple[str, Any]]:
    """What an answer does on each case: ("result", value) or ("raised", the error in words)."""
    found = []
    for case in copy.deepcopy(exercise.cases()):
        try:
            found.append(("result", exercise.use(answer, case)))
        except Exception as error:  # a learner's mistake is the subject here, so it becomes a reason
            found.append(("raised", f"{type(error).__name__}: {error}"))
    return found


def hint(number: str) -> None:
    """Print one more hint at every call; after the last one, start again."""
    hints = find(number).hints
    place = _hints_shown[number] % len(hints)
    _hints_shown[number] += 1
    print(f"hint {place + 1} of {len(hints)}: {hints[place]}")


def solution(number: str) -> None:
    """Print the reference."""
    print(textwrap.dedent(inspect.getsource(find(number).reference)).rstrip())


def _plain(outcome: tuple[str, Any]) -> tuple[str, Any]:
    kind, value = outcome
    return (kind, value) if value is None or value is ... else (kind, "something")


def _first_difference(expected: list, found: list, tolerance: float) -> str | None:
    for number, ((kind, value), (other, result)) in enumerate(zip(expected, found, strict=True), 1):
        if kind != other:
            return (
                f"case {number}: {result}"
                if other == "raised"
                else f"case {number} should be refused, with an error"
            )
        said = difference(value, result, tolerance=tolerance) if kind == "result" else None
        if kind == "raised" and value.partition(":")[0] != result.partition(":")[0]:
            said = f"expected {value.partition(':')[0]}, found {result}"
        if said:
            return f"case {number}: {said}"
    return None
