"""Lint rules on a notebook's form: ids, counts, outputs, sizes, kinds of cells, limits and stamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .limits import limits
from .measure import LINE, line
from .minutes import LINE as READING
from .minutes import line as reading
from .notebook import FOLDED, KINDS, TITLE, Page, code_cells, kind, pictures, tagged, tags
from .refresh import PNG_BYTES, WIDGET
from .stamp import badge, setup_source

FILE_BYTES = 1_500_000
REFRESH = "run python notebooks/course refresh"
Found = Iterator[tuple[str, str, str]]  # cell, fault, remedy


def ids(page: Page) -> Found:
    counted = Counter(cell.get("id") for cell in page.notebook.cells)
    for number, cell in enumerate(page.notebook.cells, 1):
        if not cell.get("id"):
            yield f"number {number}", "the cell has no id", REFRESH
        elif counted[cell["id"]] > 1:
            yield cell["id"], f"the id is also another cell's (this one is number {number})", REFRESH


def counts(page: Page) -> Found:
    for expected, (name, cell) in enumerate(code_cells(page.notebook), 1):
        found = cell.get("execution_count")
        if not cell["source"].strip():
            yield name, "an empty code cell", "delete it"
        elif found is None:
            yield name, "the code cell did not run", REFRESH
        elif found != expected:
            yield name, f"expected execution count {expected}, found {found}", REFRESH


def outputs(page: Page) -> Found:
    if "widgets" in page.notebook.get("metadata", {}):
        yield "-", "metadata.widgets (GitHub then shows Invalid Notebook)", REFRESH
    for name, cell in code_cells(page.notebook):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield name, f"an error is stored ({output.get('ename')})", "catch it in the cell and show it"
            if output["output_type"] == "stream" and output.get("name") == "stderr":
                yield name, "stderr is stored", REFRESH
            if WIDGET in output.get("data", {}):
                yield name, "a widget is stored, which needs a kernel to be seen", REFRESH


def sizes(page: Page) -> Found:
    for name, cell in code_cells(page.notebook):
        for size in pictures(cell):
            if size > PNG_BYTES:
                yield (
                    name,
                    f"a PNG of {size / 1024:.0f} KB",
                    "at most 60 KB: show it through course.show.figure",
                )
    if page.size >= FILE_BYTES:
        yield "-", f"a file of {page.size / 1e6:.1f} MB", "under 1.5 MB: fewer or smaller figures"


def kinds(page: Page) -> Found:
    for name, cell in code_cells(page.notebook):
        own = [tag for tag in tags(cell) if tag in KINDS]
        if len(own) != 1:
            reason = f"expected the tag of one kind, got {', '.join(own) or 'none'}"
            yield name, reason, f"tag the cell as one of {', '.join(KINDS)}"
        folded = bool(cell.get("metadata", {}).get("jupyter", {}).get("source_hidden"))
        if folded != (kind(cell) in FOLDED):
            yield name, f"a {kind(cell)} cell that is {'' if folded else 'not '}folded", REFRESH
        if kind(cell) in FOLDED and not cell["source"].startswith(TITLE):
            yield name, f"a folded cell without {TITLE.strip()} in its first line", "say there what it holds"


def tolerated(page: Page) -> Found:
    """Limits that are exceeded, and exceptions that are no longer needed."""
    for limit in limits(page.notebook):
        allowed = page.exceptions.get(limit.name)
        if limit.exceeded and (allowed is None or limit.worse_than(allowed)):
            yield "-", f"{limit}", limit.remedy
        if not limit.exceeded and allowed is not None:
            yield "-", f"the exception for {limit.name} is no longer needed", "delete it in exceptions.json"


def stamps(page: Page) -> Found:
    stamp = REFRESH + " --stamp-only"
    for cell in tagged(page.notebook, "title", kind="markdown")[:1]:
        lines = [*cell["source"].splitlines(), "", ""]
        if lines[1] != badge(page.stem, page.address):
            yield cell.get("id", "-"), "the second line is not this notebook's Colab link", stamp
    setups = tagged(page.notebook, "setup", kind="code")
    if len(setups) != 1:
        yield "-", f"expected one code cell tagged setup, found {len(setups)}", "the set-up is one cell"
    for cell in setups[:1]:
        if cell["source"] != setup_source(page.address):
            yield cell.get("id", "-"), "the set-up cell differs from the template", stamp
    measured = page.notebook.get("metadata", {}).get("ftkit", {}).get("measured", {})
    cells = tagged(page.notebook, "outcomes", kind="markdown")
    said = [one for cell in cells for one in cell["source"].splitlines() if one.startswith(LINE)]
    if "laptop" not in measured or said != [line(page.notebook)]:
        yield "-", "the outcomes do not say the time and memory that were measured", REFRESH
    printed = [one for cell in cells for one in cell["source"].splitlines() if one.startswith(READING)]
    if printed != [reading(page.notebook)]:
        yield "-", "the outcomes do not say the reader's minutes", stamp


RULES = (ids, counts, outputs, sizes, kinds, tolerated, stamps)
