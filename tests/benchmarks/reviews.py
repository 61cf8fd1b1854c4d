"""How well each strategy does on the course's reviews: python tests/benchmarks/reviews.py [--seeds 3]

MiniLM-L6, 3 epochs, batches of 32, the rates of ftkit.strategies.USUAL_LR, the best epoch by validation loss,
the test split once per seed. Writes reviews.json beside this file and prints its table; less than a minute
per seed and strategy on two cores.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
import transformers
from ftkit.tasks.files import read

from ftkit import metrics, models, tasks
from ftkit.fit import evaluate, fit
from ftkit.loop import Run
from ftkit.records import TrainConfig
from ftkit.strategies import USUAL_LR, Full, HeadOnly, LoRA

STRATEGIES = {"lora": LoRA(rank=4), "full": Full(), "head_only": HeadOnly()}


def measure(name: str, task, implied, *, seed: int) -> dict:
    """One training and its scores."""
    torch.manual_seed(seed)
    tuned = STRATEGIES[name].apply(models.load("encoder", task, seed=seed))
    run = Run(tuned, task, TrainConfig(lr=USUAL_LR[name], epochs=3, seed=seed))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        history = fit(run, folder, progress=False)
    seconds = time.perf_counter() - began
    test = evaluate(run, "test")
    guessed = task.probabilities(tuned.model, task.test).argmax(-1).tolist()
    kinds = {}
    for example, answer in zip(task.test, guessed, strict=True):
        kinds.setdefault(example.row["kind"], []).append(answer == example.label)
    return {
        "strategy": name,
        "seed": seed,
        "accuracy": test["accuracy"],
        "interval": metrics.interval(test["accuracy"], count=len(task.test)),
        "loss": test["loss"],
        "kinds": {kind: statistics.mean(right) for kind, right in sorted(kinds.items())},
        "implied": task.score(tuned.model, implied)["accuracy"],
        "trainable_share": history.trainable / history.parameters,
        "tokens_per_second": history.tokens_per_second,
        "peak_memory_bytes": history.peak_memory,
        "seconds": seconds,
    }


def main() -> None:
    """Measure every strategy with every seed, interleaved, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    task = tasks.reviews(models.tokenizer("encoder"))
    file = Path(__file__).parents[2] / "data" / "reviews" / "implied.csv"
    rows = read(file, text="text", label="label", max_characters=20_000)
    implied = [
        tasks.Example(e.number, e.text, e.ids, task.labels.index(row["label"]))
        for e, row in zip(task.encode([row["text"] for row in rows]), rows, strict=True)
    ]
    measured = [measure(name, task, implied, seed=seed) for seed in range(seeds) for name in STRATEGIES]
    majority = metrics.majority([e.label for e in task.test])
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "test_rows": len(task.test),
        "majority": majority,
        "runs": measured,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    line = "{:<10} {:>9} {:>32} {:>8} {:>8}"
    print(line.format("strategy", "trainable", "test accuracy (lowest, highest)", "implied", "seconds"))
    for name in STRATEGIES:
        own = [m for m in measured if m["strategy"] == name]
        found = [m["accuracy"] for m in own]
        spread = f"{statistics.mean(found):.3f} ({min(found):.3f}, {max(found):.3f})"
        unseen = f"{statistics.mean(m['implied'] for m in own):.3f}"
        seconds = f"{statistics.median(m['seconds'] for m in own):.0f}"
        print(line.format(name, f"{own[0]['trainable_share']:.2%}", spread, unseen, seconds))
    print(line.format("majority", "", f"{majority:.3f}", "", ""))


if __name__ == "__main__":
    main()
