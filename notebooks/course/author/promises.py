"""Lint rules on what a notebook promises: cells that nbval compares, claims and exercises."""

from __future__ import annotations

from collections import Counter

from .form import REFRESH, Found
from .notebook import CHECKED, Page, calls, code_cells, is_checked, tags

WIDGETS = ("sliders", "sentence_box")  # what they show needs a kernel
FEWEST_CHECKED = 5
FEWEST_EXERCISES = 2


def checked(page: Page) -> Found:
    count = 0
    for name, cell in code_cells(page.notebook):
        compared = is_checked(cell)
        count += compared
        if compared and cell.get("execution_count") and not cell.get("outputs"):
            yield name, "nbval is to compare an output, and none is stored", REFRESH
        if not compared and (calls(cell, "claim") or calls(cell, "check")):
            yield name, "a claim or check that nbval does not compare", REFRESH
        if compared and any(calls(cell, verb) for verb in WIDGETS):
            yield name, "nbval is to compare a widget, which is not stored", "give it a cell of its own"
        if any(f"{before}NBVAL_" in cell["source"] for before in ("# ", "#")):
            yield name, "a comment for nbval", "refresh tags the cells that nbval compares; every cell runs"
        if "nbval-skip" in tags(cell):
            yield name, "nbval is told to skip the cell", "every cell runs"
    if count < FEWEST_CHECKED:
        yield "-", f"expected at least {FEWEST_CHECKED} cells that nbval compares, got {count}", "claim more"
    if count < page.checked:
        remedy = "restore them; to lower the number on purpose edit tests/claims.json"
        yield "-", f"expected the {page.checked} cells tagged {CHECKED} of before, got {count}", remedy


def claims(page: Page) -> Found:
    begin = page.stem.split("_")[0] + "."
    found = [(name, number) for name, cell in code_cells(page.notebook) for number in calls(cell, "claim")]
    for name, number in found:
        if number is None:
            yield name, "a claim whose number is not written out", 'write it as claim("18.2", …)'
        elif not number.startswith(begin):
            yield name, f"claim {number}", f"claims of this notebook are numbered {begin}1, {begin}2, …"
    for number, times in Counter(number for _, number in found if number is not None).items():
        if times > 1:
            places = [name for name, one in found if one == number]
            yield ", ".join(places), f"claim {number} stands there {times} times", "give each its own number"


def exercises(page: Page) -> Found:
    asked: dict[str | None, str] = {}  # number -> the cell that checks it
    cells = 0
    for name, cell in code_cells(page.notebook):
        here = calls(cell, "check")
        cells += bool(here)
        asked |= dict.fromkeys(here, name)
        for number in (*here, *calls(cell, "hint"), *calls(cell, "solution")):
            if number not in page.exercises:
                said = "whose number is not written out" if number is None else number
                yield (
                    name,
                    f"exercise {said} is not in course.answers",
                    "correct the number or add the exercise",
                )
    for number in sorted(page.exercises - set(asked)):
        yield (
            "-",
            f"exercise {number} of course.answers is not checked here",
            "add its cell or take it out there",
        )
    if cells < FEWEST_EXERCISES:
        yield "-", f"expected at least {FEWEST_EXERCISES} cells with check(…), got {cells}", "add exercises"


RULES = (checked, claims, exercises)
