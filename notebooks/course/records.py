"""What an exercise is: a reference, cases to try it on, hints, and the wrong answers that people give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def call(answer: Callable, case: tuple) -> Any:
    """The usual way to use an answer: call it with the case's arguments."""
    return answer(*case)


def wrong(diagnosis: str) -> Callable[[Callable], Callable]:
    """Marks a wrong answer that people give with what to tell who gives it: "you divided by d, not by √d"."""

    def mark(answer: Callable) -> Callable:
        answer.diagnosis = diagnosis
        return answer

    return mark


@dataclass(frozen=True)
class Exercise:
    """One exercise. An answer is right when it gives the reference's results on every case."""

    number: str  # "18.1": notebook, then place in it
    reference: Callable  # readable: `solution` shows its source
    cases: Callable[[], list[tuple]]  # argument tuples, the same at every call
    hints: tuple[str, ...]  # from vague to nearly the answer
    wrong: tuple[Callable, ...]  # each marked by `wrong`
    use: Callable[[Callable, tuple], Any] = (
        call  # what is compared: numbers, tensors, strings, lists or dicts
    )
    tolerance: float = 1e-5  # absolute and relative, on floats and tensors
    banned: tuple[str, ...] = ()  # names that the answer may not use: the exercise is to write them by hand
    exact: bool = False  # whether the result's type counts beside its values, as for codes of 8 bits
