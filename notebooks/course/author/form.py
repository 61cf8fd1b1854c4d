"""Lint rules on a notebook's form: ids, counts, outputs, sizes, parts and stamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .measure import LINE, line
from .notebook import PARTS, Page, code_cells, named_cells, pictures, tagged, tags
from .refresh import PNG_BYTES, WIDGET
from .stamp import badge, setup_source

CELLS = (25, 45)
FEWEST_IN_00 = 18
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


def length(page: Page) -> Found:
    fewest = FEWEST_IN_00 if page.stem.startswith("00") else CELLS[0]
    found = len(page.notebook.cells)
    if not fewest <= found <= CELLS[1]:
        yield "-", f"expected {fewest} to {CELLS[1]} cells, found {found}", "one idea to a notebook"


def parts(page: Page) -> Found:
    first: dict[str, str] = {}
    for name, cell in named_cells(page.notebook):
        own = [tag for tag in tags(cell) if tag in PARTS]
        if len(own) != 1:
            said = f"expected the tag of one part, found {', '.join(own) or 'none'}"
            yield name, said, f"tag it as one of {', '.join(PARTS)}"
        for tag in own:
            first.setdefault(tag, name)
    for part in PARTS:
        if part not in first:
            yield "-", f"no cell is tagged {part}", "every notebook has every part of the standard"
    ranks = [PARTS.index(tag) for tag in first]
    for i, (tag, name) in enumerate(first.items()):
        if ranks[i] < max(ranks[:i], default=-1):
            before = PARTS[max(ranks[:i])]
            yield name, f"{tag} comes first after {before}", f"the order is {', '.join(PARTS)}"


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


RULES = (ids, counts, outputs, sizes, length, parts, stamps)
