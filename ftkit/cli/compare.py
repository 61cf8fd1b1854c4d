"""ftkit compare: strategies on your own texts, under the same conditions, in one table."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from ..checks import check_config
from .settings import FILES, Settings, add_options, asked, settings, strategy_named

HELP = "compare strategies on your own labelled texts"
RECORD, ROWS, TABLE, PLOT = "comparison.json", "rows.jsonl", "comparison.md", "comparison.png"
SHARED = (*FILES, "text", "label", "model", "max_tokens", "epochs", "batch_size")
DEFAULT = "full,lora,adapters,ia3,bitfit,head_only"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The data as for finetune; which strategies, how many seeds."""
    add_options(parser, names=SHARED)
    parser.add_argument(
        "--strategies", default=DEFAULT, help=f"names with commas between; {DEFAULT} by default"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each strategy; 3 by default")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the results; one that was stopped goes on"
    )


def run(given: argparse.Namespace) -> int:
    """Measure what is not measured yet; print the table, write it with the rows and a plot."""
    from .. import metrics, models, tasks
    from ..compare import append, interval, measure, read, summary
    from ..plots import standings
    from ..printed import markdown, plain
    from ..strategies import USUAL_LR

    chosen, names = _chosen(given)
    task = tasks.table(
        models.tokenizer(chosen.model),
        chosen.data,
        text=chosen.text,
        label=chosen.label,
        validation=chosen.validation,
        test=chosen.test,
        max_tokens=chosen.max_tokens,
    )
    _keep_record(given.out, chosen, task)
    rows = read(given.out / ROWS)
    known = {(row.strategy, row.seed) for row in rows}
    for seed in range(given.seeds):  # seed by seed, so that a run that is stopped has something of each
        for name in names:
            if (name, seed) in known:
                continue
            row = measure(
                name,
                strategy_named(name)(),
                lr=USUAL_LR[name],
                load=lambda seed=seed: models.load(chosen.model, task, seed=seed),
                task=task,
                config=replace(chosen.train, seed=seed),
            )
            append(row, given.out / ROWS)
            rows.append(row)
            print(f"{name}, seed {seed}: test accuracy {row.quality:.3f}, {row.seconds:.0f} s", flush=True)
    rows = [row for row in rows if row.strategy in names and row.seed < given.seeds]
    majority = metrics.majority([e.label for e in task.test])
    records = sorted(summary(rows), key=lambda r: -r["quality"])
    best = [row for row in rows if row.strategy == records[0]["strategy"]]
    for record in records[1:]:
        record["behind the best"] = "{:.3f} to {:.3f}".format(
            *interval(best, [row for row in rows if row.strategy == record["strategy"]])
        )
    table = [_line(record) for record in records]
    words = f"{len(task.test)} test texts; always the commonest label: {majority:.3f}; intervals are 95%"
    print(plain(table) + "\n" + words)
    (given.out / TABLE).write_text(f"{markdown(table)}\n\n{words}.\n", encoding="utf-8")
    standings(records, majority=majority).savefig(given.out / PLOT)
    print(f"written: {', '.join(str(given.out / n) for n in (ROWS, TABLE, PLOT))}")
    return 0


def _line(record: dict) -> dict:
    return {
        "strategy": record["strategy"],
        "seeds": record["seeds"],
        "accuracy": record["quality"],
        "95%": f"{record['low']:.3f} to {record['high']:.3f}",
        "behind the best, 95%": record.get("behind the best", ""),
        "trained": record["trainable"],
        "memory (MB)": round(record["peak_memory"] / 1e6),
        "seconds": round(record["seconds"], 1),
        "features moved": record["moved"],
    }


def _chosen(given: argparse.Namespace) -> tuple[Settings, list[str]]:
    """The settings that all strategies share, and the strategies."""
    names = list(dict.fromkeys(name.strip() for name in given.strategies.split(",") if name.strip()))
    values = asked(given)
    missing = [f"--{name}" for name in ("data", "text", "label") if name not in values]
    if missing or len(names) < 2 or given.seeds < 1:
        raise ValueError(
            f"expected --data, --text, --label, two --strategies or more and 1 or more --seeds, got "
            f"{'no ' + ', '.join(missing) + ', ' if missing else ''}{len(names)} strategies and "
            f"{given.seeds} seeds"
        )
    for name in names:
        strategy_named(name)
    chosen = settings(values)
    check_config(chosen.train)
    return chosen, names


def _keep_record(out: Path, chosen: Settings, task) -> None:
    """Write what decides a row into the folder, or refuse a folder whose rows other settings decided."""
    now = asdict(chosen) | asdict(chosen.train)
    # every strategy has its own rate and options, every row its seed
    for name in ("train", "digests", "validation", "test", "strategy", "options", "labels", "lr", "seed"):
        del now[name]
    now["data"] = {split: getattr(task, split).file.sha256 for split in ("train", "validation", "test")}
    now = json.loads(json.dumps(now))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / RECORD).is_file():
            raise ValueError(f"{out}: holds something else than a comparison; choose another --out")
        saved = json.loads((out / RECORD).read_text(encoding="utf-8"))
        other = sorted(name for name in now if saved.get(name) != now[name])
        if other:
            raise ValueError(
                f"{out}: the comparison was begun with other {', '.join(other)}; give the same, or use a new "
                "--out"
            )
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).write_text(json.dumps(now, indent=1), encoding="utf-8")
