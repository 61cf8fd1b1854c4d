"""Which exercises were solved, in a file beside the notebooks that only grows."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

NAME = ".ftkit-progress.json"


def file() -> Path:
    """Where progress is kept: FTKIT_PROGRESS, or a file in the folder the notebook runs in."""
    return Path(os.environ.get("FTKIT_PROGRESS") or NAME)


def solved() -> dict[str, str]:
    """{number: date} of every solved exercise; empty where there is no file yet."""
    if not file().is_file():
        return {}
    try:
        return dict(json.loads(file().read_text(encoding="utf-8"))["solved"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file().resolve()}: expected JSON with a key 'solved', found something else ({error}); "
            "correct the file, or move it away to begin afresh"
        ) from None


def remember(number: str) -> None:
    """Add an exercise to the file, at its first solution."""
    known = solved()
    if number in known:
        return
    known[number] = datetime.date.today().isoformat()
    draft = file().with_name(file().name + ".draft")
    draft.write_text(json.dumps({"solved": known}, indent=1), encoding="utf-8")
    draft.replace(file())
