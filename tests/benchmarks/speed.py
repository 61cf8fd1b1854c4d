"""The performance tables of README.md beside this file, from the newest kept result."""

from pathlib import Path

from ftkit.printed import markdown

from . import report

HERE = Path(__file__).parent
README = HERE / "README.md"


def page() -> str:
    """The README as it should be."""
    section = report.section(report.newest(HERE), table=markdown)
    return report.replaced(README.read_text(encoding="utf-8"), section)
