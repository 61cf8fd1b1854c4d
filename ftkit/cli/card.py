"""What a finished run leaves for people: a table of results, a plot, a model card."""

from __future__ import annotations

import html
import json
from pathlib import Path

from .. import metrics
from ..fit import evaluate
from ..loop import Run
from ..tasks.task import together
from .settings import Settings

NAMES = ("results.json", "loss.png", "model-card.md")


def results(run: Run) -> dict:
    """Test and validation scores, the 95% interval of the accuracy, and the baseline to beat."""
    task = run.task
    with run.autocast(), together(run.processes):
        answers = task.probabilities(run.tuned.model, task.test).argmax(-1).tolist()
    truth = [e.label for e in task.test]
    accuracy = metrics.accuracy(truth, answers)
    return {
        "test": evaluate(run, "test"),
        "test_interval": metrics.interval(accuracy, count=len(truth)),
        "test_majority": metrics.majority(truth),
        "validation": evaluate(run),
        "confusion": metrics.confusion(truth, answers, classes=len(task.labels)).tolist(),
        "rows": {"train": len(task.train), "validation": len(task.validation), "test": len(task.test)},
        "updates": run.step,
        "ended": run.ended,
        "trainable": run.history.trainable,
        "parameters": run.history.parameters,
        "tokens_per_second": run.history.tokens_per_second,
        "peak_memory_bytes": run.history.peak_memory,
    }


def table(found: dict) -> str:
    """The results as lines for the terminal."""
    low, high = found["test_interval"]
    rows = [
        (
            "test accuracy",
            f"{found['test']['accuracy']:.3f}   (95% interval {low:.3f} to {high:.3f}, "
            f"{found['rows']['test']} texts)",
        ),
        ("commonest label", f"{found['test_majority']:.3f}   (what always answering it would give)"),
        ("test F1, macro", f"{found['test']['f1']:.3f}"),
        ("validation loss", f"{found['validation']['loss']:.3f} nats"),
        (
            "trainable",
            f"{found['trainable']:,} of {found['parameters']:,} "
            f"({found['trainable'] / found['parameters']:.2%})",
        ),
        (
            "speed, memory",
            f"{found['tokens_per_second']:,.0f} tokens/s, {found['peak_memory_bytes'] / 1e6:,.0f} MB at "
            "the peak",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def write(folder: Path, *, settings: Settings, run: Run, results: dict) -> None:
    """results.json, loss.png and model-card.md; a resumed run that ended before writes them anew."""
    from ..plots import curves

    (folder / NAMES[0]).write_text(json.dumps(results, indent=1), encoding="utf-8")
    curves({settings.strategy: run.steps}).savefig(folder / NAMES[1])
    (folder / NAMES[2]).write_text(_card(settings, run, results), encoding="utf-8")


def _card(settings: Settings, run: Run, found: dict) -> str:
    from ..models import repository

    base = Path(repository(settings.model))  # of a folder its name only: its place is nobody else's business
    labels = [_escaped(label) for label in run.task.labels]
    matrix = "\n".join(
        f"| {label} | " + " | ".join(map(str, row)) + " |"
        for label, row in zip(labels, found["confusion"], strict=True)
    )
    return f"""# Model card

A text classifier: {", ".join(labels)}.

| | |
|---|---|
| base model | {base.name if base.is_dir() else base.as_posix()} |
| strategy | `{settings.recipe()!r}` |
| data | `{Path(settings.data).name}`, column `{settings.text}` to column `{settings.label}` |
| rows | {", ".join(f"{count} {split}" for split, count in found["rows"].items())} |
| training | `{run.config!r}` |
| updates | {found["updates"]} ({found["ended"]}) |

## Results

```
{table(found)}
```

Rows are the truth, columns the answers, on the test split:

| | {" | ".join(labels)} |
|---|{"---|" * len(labels)}
{matrix}

![Loss per update](loss.png)

## Limits

Texts longer than {run.task.max_tokens} tokens were shortened ({run.task.shortened} here). The test split
comes from the same source as the training data: texts from elsewhere, on other subjects, were not tested. The
probabilities were not calibrated.

## Use

    ftkit predict RUN_FOLDER "a sentence"

SHA-256 of the data files: {", ".join(f"`{d}`" for d in dict.fromkeys(settings.digests.values()))}
"""


def _escaped(label: str) -> str:
    """A label that is only text in Markdown: no markup, no cell's border, no control character."""
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in label)
    return html.escape(printable, quote=False).replace("|", "&#124;")
