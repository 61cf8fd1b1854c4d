"""The limits of the standard for pages, cells and lines; exceptions.json names the pages that exceed them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .minutes import before_first_exercise, sections, visible_lines
from .notebook import calls, is_visible, pictures

EXCEPTIONS = Path(__file__).parent / "exceptions.json"


@dataclass(frozen=True)
class Limit:
    """One measure of a page, and how far it may go."""

    name: str
    value: float
    bound: float
    remedy: str
    least: bool = False  # the bound is the least, not the most

    @property
    def exceeded(self) -> bool:
        return self.value < self.bound if self.least else self.value > self.bound

    def worse_than(self, allowed: float) -> bool:
        return self.value < allowed if self.least else self.value > allowed

    def __str__(self) -> str:
        return (
            f"{self.name}: expected at {'least' if self.least else 'most'} {self.bound}, got {self.value:g}"
        )


def limits(notebook: NotebookNode) -> list[Limit]:
    """Every measure of one page."""
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    seen = [cell for cell in code if is_visible(cell)]
    whole = sections(notebook)
    longest = max((len(one) for cell in code for one in cell["source"].splitlines()), default=0)
    shorter, split = "cut it, fold what is a picture or a proof", "make two pages of it"
    return [
        Limit("visible code lines", sum(map(visible_lines, seen)), 250, f"{shorter}, or {split}"),
        Limit(
            "lines of the longest visible cell",
            max(map(visible_lines, seen), default=0),
            25,
            "one idea a cell",
        ),
        Limit("characters of the longest code line", longest, 80, "break it"),
        Limit("words", sum(section.words for section in whole), 1800, f"cut it, or {split}"),
        Limit(
            "visible claims", sum(len(calls(cell, "claim")) for cell in seen), 15, "move some to a proof cell"
        ),
        Limit("pictures", sum(len(list(pictures(cell))) for cell in code), 8, "no picture twice"),
        Limit("minutes", round(sum(section.minutes for section in whole)), 45, f"cut it, or {split}"),
        Limit("minutes before the first exercise", round(before_first_exercise(notebook)), 12, "ask earlier"),
        Limit("headings", len(whole) - 1, 3, "a ## heading for each idea", least=True),
    ]


def exceptions() -> dict[str, dict[str, float]]:
    """{notebook: {limit: the value that is tolerated}}. The list may only shrink."""
    return json.loads(EXCEPTIONS.read_text(encoding="utf-8"))
