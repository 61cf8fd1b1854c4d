"""The loop against Trainer and PEFT and against the matrix products alone."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

HELP = "time the training loop against transformers' Trainer and against the machine's limit"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy")


def arguments(parser: argparse.ArgumentParser) -> None:
    """How long, and where to."""
    parser.add_argument("--quick", action="store_true", help="within a minute on two cores; less certain")
    parser.add_argument(
        "--out", type=Path, help="folder for the results; by default runs/benchmark-DATE-TIME"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each system on a CPU; 2 by default")
    parser.add_argument("--no-costs", action="store_true", help="leave out rows, start and logits")


def run(given: argparse.Namespace) -> int:
    """Measure; print the tables; write results (JSON), tables (Markdown) and a plot (PNG)."""
    import os

    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))  # before any process of a system starts
    import torch

    from ftkit.printed import markdown, plain

    from . import report
    from .bars import speed
    from .session import groups, measure

    began = datetime.now()
    if given.threads < 1:
        raise ValueError(f"expected 1 thread or more, got {given.threads}")
    folder = given.out or Path("runs") / f"benchmark-{began:%Y-%m-%d-%H%M%S}"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder for the results, got a file; choose another --out")
    planned = groups(quick=given.quick, gpu=torch.cuda.is_available(), threads=given.threads)
    say = lambda text: print(text, flush=True)  # noqa: E731
    records = []
    for number, group in enumerate(planned):
        records += measure(group, say=say, profile=number == 0 and not given.quick)
    results = {
        "date": f"{began:%Y-%m-%d}",
        "quick": given.quick,
        "machine": _machine(given.threads),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "workload": asdict(planned[0].load),
        "contestants": records,
        "costs": {},
    }
    if not given.quick and not given.no_costs:
        from .costs import costs

        results["costs"] = costs(say=say, threads=given.threads)
    table = f"{plain(report.standing(results))}\n\n{plain(report.goals(results))}"
    print(f"\n{table}\n\n{report.words(results)}")
    folder.mkdir(parents=True, exist_ok=True)
    file = _unused(folder, began, "-quick" if given.quick else "")
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    file.with_suffix(".md").write_text(report.section(results, table=markdown) + "\n", encoding="utf-8")
    speed(report.drawn(results)).savefig(file.with_suffix(".png"))
    print(f"written: {', '.join(str(file.with_suffix(end)) for end in ('.json', '.md', '.png'))}")
    return 0


def _unused(folder: Path, began: datetime, end: str) -> Path:
    """The file for a result, named by the second in which it began, or by the next one that is free."""
    file = folder / f"speed-{began:%Y-%m-%d-%H%M%S}{end}.json"
    return _unused(folder, began + timedelta(seconds=1), end) if file.exists() else file


def _machine(threads: int) -> dict:
    import torch

    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "threads": threads, "system": platform.system()}
    return {"device": f"CPU ({_processor()})", "threads": threads, "system": platform.system()}


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )
