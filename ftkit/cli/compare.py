"""ftkit compare: strategies on your own texts, under the same conditions, in one table."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from . import build
from .runfolder import Settings

HELP = "compare strategies on your own labelled texts"
RECORD, ROWS, TABLE, PLOT = "comparison.json", "rows.jsonl", "comparison.md", "comparison.png"
DEFAULT = "full,lora,adapters,ia3,bitfit,head_only"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The data as for finetune; which strategies, how many seeds."""
    parser.add_argument("--data", required=True, help="CSV, TSV, JSONL or Parquet file to train on")
    parser.add_argument("--text", required=True, help="name of the column with the texts")
    parser.add_argument("--label", required=True, help="name of the column with the labels")
    parser.add_argument("--validation", help="file that is kept apart (else a tenth of --data)")
    parser.add_argument("--test", help="file to test on (else a tenth of --data)")
    parser.add_argument(
        "--strategies", default=DEFAULT, help=f"names with commas between; {DEFAULT} by default"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each strategy; 3 by default")
    parser.add_argument("--epochs", type=int, default=3, help="3 by default")
    parser.add_argument("--batch-size", type=int, default=32, help="examples per update; 32 by default")
    parser.add_argument("--max-tokens", type=int, help="longer texts are cut; by default the scale's number")
    parser.add_argument("--model", default="encoder", help='"encoder" of the scale, a hub id, or a folder')
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the results; one that was stopped goes on"
    )


def run(given: argparse.Namespace) -> int:
    """Measure what is not measured yet; print the table, write it with the rows and a plot."""
    from .. import metrics, models, tasks
    from ..comparison import append, interval, measure, read, summary
    from ..records import TrainConfig
    from ..show.standings import standings
    from ..show.tables import markdown, plain
    from ..strategies import USUAL_LR

    names, recipes = _strategies(given)
    _check_place(given)
    task = tasks.table(
        models.tokenizer(given.model),
        given.data,
        text=given.text,
        label=given.label,
        validation=given.validation,
        test=given.test,
        max_tokens=given.max_tokens,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / RECORD).write_text(json.dumps(_settings(given), indent=1), encoding="utf-8")
    config = TrainConfig(epochs=given.epochs, batch_size=given.batch_size)
    rows = read(given.out / ROWS)
    known = {(row.strategy, row.seed) for row in rows}
    for seed in range(given.seeds):  # seed by seed, so that a run that is stopped has something of each
        for name in names:
            if (name, seed) in known:
                continue
            row = measure(
                name,
                recipes[name],
                lr=USUAL_LR[name],
                load=lambda seed=seed: models.load(given.model, task, seed=seed),
                task=task,
                config=replace(config, seed=seed),
            )
            append(row, given.out / ROWS)
            rows.append(row)
            print(f"{name}, seed {seed}: test accuracy {row.accuracy:.3f}, {row.seconds:.0f} s", flush=True)
    rows = [row for row in rows if row.strategy in names and row.seed < given.seeds]
    majority = metrics.majority([e.label for e in task.test])
    found = sorted(summary(rows), key=lambda r: -r["accuracy"])
    best = [row for row in rows if row.strategy == found[0]["strategy"]]
    for record in found[1:]:
        record["behind the best"] = "{:.3f} to {:.3f}".format(
            *interval(best, [row for row in rows if row.strategy == record["strategy"]])
        )
    table = [_line(record) for record in found]
    words = f"{len(task.test)} test texts; always the commonest label: {majority:.3f}; intervals are 95%"
    print(plain(table) + "\n" + words)
    (given.out / TABLE).write_text(f"{markdown(table)}\n\n{words}.\n", encoding="utf-8")
    standings(found, majority=majority).savefig(given.out / PLOT)
    print(f"written: {', '.join(str(given.out / n) for n in (ROWS, TABLE, PLOT))}")
    return 0


def _line(record: dict) -> dict:
    return {
        "strategy": record["strategy"],
        "seeds": record["seeds"],
        "accuracy": record["accuracy"],
        "95%": f"{record['low']:.3f} to {record['high']:.3f}",
        "behind the best, 95%": record.get("behind the best", ""),
        "trained": record["trainable"],
        "memory (MB)": round(record["peak_memory"] / 1e6),
        "seconds": round(record["seconds"], 1),
        "features moved": record["moved"],
    }


def _strategies(given: argparse.Namespace) -> tuple[list[str], dict]:
    names = list(dict.fromkeys(name.strip() for name in given.strategies.split(",") if name.strip()))
    if len(names) < 2 or given.seeds < 1 or given.epochs < 1:
        raise ValueError(
            f"expected two strategies or more, and 1 or more --seeds and --epochs, found {len(names)}, "
            f"{given.seeds} and {given.epochs}"
        )
    return names, {name: build.strategy(Settings("", "", "", strategy=name)) for name in names}


def _settings(given: argparse.Namespace) -> dict:
    """What decides a row; strategies and seeds may be added later."""
    from ..models import sha256

    free = ("verb", "out", "strategies", "seeds")
    found = {name: value for name, value in vars(given).items() if name not in free}
    for name in ("data", "validation", "test"):
        if found[name] and Path(found[name]).is_file():
            found[name] = sha256(Path(found[name]))
    return found


def _check_place(given: argparse.Namespace) -> None:
    if not given.out.exists() or (given.out.is_dir() and not any(given.out.iterdir())):
        return
    record = given.out / RECORD
    if not record.is_file():
        raise ValueError(f"{given.out}: holds something else than a comparison; choose another --out")
    saved, now = json.loads(record.read_text(encoding="utf-8")), _settings(given)
    other = sorted(name for name in now if saved.get(name) != now[name])
    if other:
        raise ValueError(
            f"{given.out}: the comparison was begun with other {', '.join(other)}; give the same, or use a "
            "new --out"
        )
