"""lint: every fault of a notebook against the standard. The rules stand in form, wording and promises."""

from __future__ import annotations

import json
from pathlib import Path

from . import form, promises, wording
from .limits import exceptions
from .notebook import Fault, Page, address, notebooks, read

RULES = (*form.RULES, *wording.RULES, *promises.RULES)


def faults(page: Page) -> list[Fault]:
    """All faults of one notebook, rule by rule."""
    return [Fault(page.stem, cell, fault, remedy) for rule in RULES for cell, fault, remedy in rule(page)]


def lint(file: Path, *, root: Path) -> list[Fault]:
    """All faults of the notebook in `file`, as a part of the course in `root`."""
    from ..check import catalogue

    try:
        notebook = read(file)
    except ValueError as error:
        return [Fault(file.stem, "-", str(error), "nothing else was looked at")]
    page = Page(
        stem=file.stem,
        notebook=notebook,
        size=file.stat().st_size,
        address=address(root),
        exercises=frozenset(exercise.number for exercise in catalogue().get(file.stem, [])),
        checked=committed(root).get(file.stem, 0),
        exceptions=exceptions().get(file.stem, {}),
    )
    return faults(page)


def lint_course(root: Path) -> list[Fault]:
    """Faults that no single notebook shows: promises for notebooks that are not there."""
    from ..check import catalogue

    present = {file.stem for file in notebooks(root)}
    return [
        Fault(
            stem, "-", f"named in {place}, but there is no such notebook", "restore it or take it out there"
        )
        for place, stems in (
            ("tests/claims.json", committed(root)),
            ("notebooks/course/answers", catalogue()),
        )
        for stem in sorted(set(stems) - present)
    ]


def committed(root: Path) -> dict[str, int]:
    """How many cells nbval compares in each notebook. refresh raises these numbers, nothing lowers them."""
    file = root / "tests" / "claims.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
