"""python notebooks/course pretrain: tiny-gpt or tiny-bert, on texts of the language with a known entropy."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

HELP = "pretrain tiny-gpt or tiny-bert as the course ships them"
CHECKPOINTS, RECORD, CARD, PLOT = "checkpoints", "pretraining.json", "README.md", "loss.png"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The model, a folder of its own, and whether to go on with what lies there."""
    parser.add_argument("model", help="tiny-gpt or tiny-bert")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the model; it must not hold anything yet"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--texts", type=int, help="draw so many texts instead of the recipe's, for a trial")
    parser.add_argument("--seed", type=int, default=0, help="of texts, weights and order; 0 by default")


def run(given: argparse.Namespace) -> int:
    """Draw, train, measure against the truth; leave model, tokenizer, plot, figures and a model card."""
    from ftkit import checkpoint
    from ftkit.fit import fit
    from ftkit.loop import Run
    from ftkit.strategies import Full

    from . import language, pretraining

    if given.model not in pretraining.RECIPES:
        raise ValueError(f"expected a model out of {', '.join(pretraining.RECIPES)}, found {given.model!r}")
    recipe = pretraining.RECIPES[given.model]
    recipe = replace(
        recipe, texts=given.texts or recipe.texts, config=replace(recipe.config, seed=given.seed)
    )
    if recipe.texts < recipe.config.batch_size:
        raise ValueError(
            f"expected at least one batch of {recipe.config.batch_size} texts, found --texts {recipe.texts}"
        )
    settings = {"model": given.model, **asdict(recipe)}
    _check_place(given, settings)
    lang = language.load()
    tokenizer = pretraining.tokenizer(lang, list(pretraining.strings(lang, 5000, seed=recipe.config.seed)))
    task = pretraining.task(recipe, lang, tokenizer, progress=True)
    network = pretraining.network(recipe.kind, tokenizer, seed=recipe.config.seed)
    one = Run(Full().apply(network), task, recipe.config)
    newest = checkpoint.latest(given.out / CHECKPOINTS) if given.resume else None
    if newest:
        checkpoint.restore(one, newest)
        print(f"going on after update {one.step}")
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / RECORD).write_text(json.dumps({"recipe": settings}, indent=1), encoding="utf-8")
    history = fit(one, given.out / CHECKPOINTS)
    if history.ended == "interrupted":
        print(f"go on with: python notebooks/course pretrain {given.model} --out {given.out} --resume")
        return 130
    network.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    found = _measured(one, lang, recipe)
    (given.out / RECORD).write_text(json.dumps({"recipe": settings, **found}, indent=1), encoding="utf-8")
    _write_card(given.out, given.model, recipe, found, one)
    print((given.out / CARD).read_text(encoding="utf-8"))
    return 0


def _check_place(given: argparse.Namespace, settings: dict) -> None:
    if given.resume:
        record = given.out / RECORD
        if not record.is_file():
            raise ValueError(
                f"{given.out}: expected {RECORD} of a run to go on with, found none; leave --resume out"
            )
        saved = json.loads(record.read_text(encoding="utf-8"))["recipe"]
        other = [k for k in settings if saved.get(k) != json.loads(json.dumps(settings[k]))]
        if other:
            raise ValueError(
                f"{given.out}: the run was started with other {', '.join(other)} "
                f"({ {k: saved.get(k) for k in other} }); "
                "give the same, or use a new --out"
            )
    elif given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise ValueError(f"{given.out}: is there already; go on with --resume, or choose another --out")


def _measured(run, lang, recipe) -> dict:
    """What the card reports: losses on fresh texts and, for a causal model, the distance from the truth."""
    from . import pretraining

    seconds = sum(s.seconds for s in run.steps)
    found = {
        "updates": run.step,
        "parameters": run.history.parameters,
        "minutes": round(seconds / 60, 1),
        "tokens_per_second": round(run.history.tokens_per_second),
        "test": run.task.score(run.tuned.model, run.task.test),
        "evaluations": [asdict(e) for e in run.evaluations],
    }
    if recipe.kind == "causal":
        fresh = lang.texts(len(run.task.test), seed=pretraining.FRESH_SEED)
        found["distance"] = asdict(pretraining.distance(run.tuned.model, run.task, lang, fresh))
        texts = pretraining.sampled(run.tuned.model, run.task.tokenizer, min(500, recipe.texts))
        single = lang.starting_at("sentence")
        sentences = pretraining.sentences(texts)
        found["sampled"] = {
            "texts": len(texts),
            "sentences": len(sentences),
            "texts_parse": sum(map(lang.parses, texts)) / len(texts),
            "sentences_parse": sum(map(single.parses, sentences)) / max(1, len(sentences)),
        }
    return found


def _write_card(folder: Path, name: str, recipe, found: dict, run) -> None:
    from ftkit.plots import curves

    curves({name: run.steps}).savefig(folder / PLOT)
    unit = "word" if recipe.kind == "causal" else "hidden word"
    kind = "the next word" if recipe.kind == "causal" else "hidden words"
    lines = [
        f"# {name}",
        "",
        f"A Transformer of {found['parameters']:,} parameters that predicts {kind} of the course's "
        "artificial language (data/language). It knows nothing else: no other English, no facts.",
        "",
        "| | |",
        "|---|---|",
        f"| made by | `python notebooks/course pretrain {name} --out FOLDER` |",
        f"| data | {recipe.texts:,} texts, seed {recipe.config.seed}, each {recipe.copies} times an epoch |",
        f"| training | {found['updates']:,} updates, `{recipe.config!r}` |",
        f"| time | {found['minutes']:g} minutes, {found['tokens_per_second']:,} tokens per second |",
        f"| loss on {len(run.task.test):,} fresh texts | {found['test']['loss']:.4f} nats per {unit} |",
    ]
    if "distance" in found:
        d = found["distance"]
        low, high = d["above_interval"]
        drawn = found["sampled"]
        lines += [
            f"| the language's own loss on the same words | {d['truth']:.4f} nats (exact; topics summed) |",
            f"| exact conditional entropy there | {d['entropy']:.4f} nats per word |",
            f"| distance | {d['above']:.2%} of the entropy (95%: {low:.2%} to {high:.2%}) |",
            f"| sampled sentences that parse | {drawn['sentences_parse']:.1%} of {drawn['sentences']:,} |",
            f"| sampled whole texts, likewise | {drawn['texts_parse']:.1%} of {drawn['texts']:,} |",
        ]
    lines += ["", "Licence: CC0, as the texts. Weights and configuration open with transformers.", ""]
    (folder / CARD).write_text("\n".join(lines), encoding="utf-8")
