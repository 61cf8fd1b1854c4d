"""table: rows of plain records as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftkit.printed import markdown, plain

from .outputs import present


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Show records as a table; columns in the order in which they first appear, numbers to the right."""
    if not rows:
        raise ValueError("expected at least one row, found none")
    present({"text/markdown": markdown(rows), "text/plain": plain(rows)})
