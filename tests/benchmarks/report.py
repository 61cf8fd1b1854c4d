"""What was measured, against what was to be reached: pure functions of the records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

BEGIN, END = "<!-- performance -->", "<!-- end of performance -->"
PLAIN = ("updates",)  # groups whose strategies are drawn apart
SPREAD = tuple[float, float, float]  # median, lowest, highest over the turns


def spread(values: Sequence[float]) -> SPREAD:
    """Median, lowest, highest."""
    return median(values), min(values), max(values)


def rates(record: Mapping) -> list[float]:
    """Real tokens per second of every turn."""
    return [sum(turn["tokens"]) / turn["seconds"] for turn in record["turns"]]


def find(results: Mapping, **wanted) -> dict | None:
    """The first system's record whose fields have these values."""
    for record in results["contestants"]:
        if all(record[field] == value for field, value in wanted.items()):
            return record
    return None


def ratio(one: Mapping | None, other: Mapping | None) -> SPREAD | None:
    """How many times the speed of `other`, turn by turn: what disturbs both cancels."""
    if one is None or other is None:
        return None
    return spread([a / b for a, b in zip(rates(one), rates(other), strict=True)])


def share(record: Mapping | None) -> SPREAD | None:
    """The time of the matrix products alone over the time of the turn."""
    if record is None or not record["ceiling"]:
        return None
    return spread([c / t["seconds"] for c, t in zip(record["ceiling"], record["turns"], strict=True)])


def goals(results: Mapping) -> list[dict]:
    """Each figure to reach, with its median and range here; what was not measured here is left out."""
    costs = results.get("costs", {})

    def who(name: str, strategy: str, **more) -> dict | None:
        return find(results, name=name, strategy=strategy, **more)

    ours = {strategy: who("ftkit", strategy) for strategy in ("full", "lora")}
    memory = _over(ours["lora"], who("PEFT in Trainer", "lora"), "memory")
    found = [
        (
            "full, against Trainer with grouping",
            ">=",
            1.5,
            ratio(ours["full"], who("Trainer, grouped", "full")),
        ),
        ("full, against Trainer as most call it", ">=", 3.0, ratio(ours["full"], who("Trainer", "full"))),
        (
            "LoRA, against PEFT with grouping",
            ">=",
            1.9,
            ratio(ours["lora"], who("PEFT in Trainer, grouped", "lora")),
        ),
        (
            "LoRA, against PEFT as most call it",
            ">=",
            3.2,
            ratio(ours["lora"], who("PEFT in Trainer", "lora")),
        ),
        ("LoRA, against full", ">=", 1.35, ratio(ours["lora"], ours["full"])),
        ("share of the matrix products' rate, full", ">=", 0.75, share(ours["full"])),
        (
            "head only, five epochs, against Trainer with a frozen trunk",
            ">=",
            15.0,
            ratio(who("ftkit, cached features", "head_only"), who("Trainer", "head_only")),
        ),
        (
            "gradual: frozen layers, against differentiating them",
            ">=",
            1.5,
            ratio(who("ftkit, gradual", "gradual"), who("ftkit, all differentiated", "full")),
        ),
        ("memory of LoRA, over PEFT in Trainer", "<=", 0.75, memory),
        ("time of updates() over a bare loop", "<=", 1.03, ratio(who("bare loop", "full"), ours["full"])),
        ("memory, 1,000,000 rows over 10,000", "<=", 1.10, _single(costs.get("rows_memory"))),
        ("time per token, 1,000,000 rows over 10,000", "<=", 1.05, costs.get("rows_time")),
        ("import ftkit (seconds)", "<=", 0.3, costs.get("import")),
        ("first cell of a notebook ready (seconds)", "<=", 8.0, costs.get("first_cell")),
        ("logits of 50,257 words held, over all of them", "<=", 1 / 8, _single(costs.get("logits"))),
    ]
    for precision in ("bf16",):
        gpu = who("ftkit", "full", shape="bert-base", precision=precision)
        theirs = who("Trainer, grouped", "full", shape="bert-base", precision=precision)
        found += [
            (f"{precision}, bert-base: share of the matrix products' rate", ">=", 0.5, share(gpu)),
            (f"{precision}, bert-base, against Trainer with grouping", ">=", 1.3, ratio(gpu, theirs)),
        ]
    return [
        {
            "what": what,
            "goal": f"{'≥' if sign == '>=' else '≤'} {goal:g}",
            "median": value[0],
            "lowest": value[1],
            "highest": value[2],
            "reached": value[0] >= goal if sign == ">=" else value[0] <= goal,
        }
        for what, sign, goal, value in found
        if value is not None
    ]


def _over(one: Mapping | None, other: Mapping | None, field: str) -> SPREAD | None:
    return None if one is None or other is None else _single(one[field] / other[field])


def _single(value: float | None) -> SPREAD | None:
    return None if value is None else (value, value, value)


def standing(results: Mapping) -> list[dict]:
    """A row for each system, in the order in which they took turns."""
    rows = []
    for record in results["contestants"]:
        middle, low, high = spread(rates(record))
        of_ceiling = share(record)
        rows.append(
            {
                "system": record["name"],
                "strategy": record["strategy"].replace("_", " "),
                "shape": record["shape"],
                "precision": record["precision"],
                "tokens/s": round(middle),
                "range": f"{low:,.0f} to {high:,.0f}",
                "of the ceiling": "" if of_ceiling is None else f"{of_ceiling[0]:.0%}",
                "memory (MB)": "" if record["memory"] is None else f"{record['memory'] / 1e6:,.0f}",
            }
        )
    return rows


def drawn(results: Mapping) -> list[dict]:
    """What the figure of speeds needs of every system."""
    return [
        {
            "name": _called(record),
            "strategy": record["strategy"] if record["group"] in PLAIN else record["group"],
            "rates": rates(record),
            "ceilings": [
                sum(turn["tokens"]) / seconds
                for turn, seconds in zip(record["turns"], record["ceiling"], strict=False)
            ],
        }
        for record in results["contestants"]
    ]


def _called(record: Mapping) -> str:
    return record["name"] if record["precision"] == "fp32" else f"{record['name']}, {record['precision']}"


def words(results: Mapping) -> str:
    """One sentence about the conditions."""
    machine, load = results["machine"], results["workload"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"Measured on {results['date']}: {machine['device']}, {machine['threads']} threads; {versions}. "
        f"{load['turns']} turns each of {load['updates']} updates of {load['batch_size']} texts, "
        f"{load['mean']:g} tokens on average, at most {load['longest']}; medians and ranges of the turns."
    )


def section(results: Mapping, *, table) -> str:
    """The README's part, in Markdown; `table` makes a table of rows."""
    return f"{table(standing(results))}\n\n{words(results)}\n\n{table(goals(results))}"


def newest(folder: Path) -> dict:
    """The latest kept result, not of a quick run. Raises ValueError where there is none."""
    files = sorted(file for file in Path(folder).glob("speed-*.json") if not file.stem.endswith("-quick"))
    if not files:
        raise ValueError(
            f"{folder}: expected a result speed-*.json, got none; run python tests/benchmarks --out there"
        )
    return json.loads(files[-1].read_text(encoding="utf-8"))


def replaced(page: str, text: str) -> str:
    """The page with the text between its two markers. Raises ValueError where they are missing."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(
            f"expected the markers {BEGIN} and {END} once each, found them otherwise; put them in"
        )
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"
