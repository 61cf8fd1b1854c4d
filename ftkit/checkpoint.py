"""save, restore, latest: the table's parameters, the optimizer, the history, in safetensors and JSON.

A checkpoint is a folder step-000038 with four files. It is written beside its place, synced and renamed.
The manifest with sizes and SHA-256 is written last: a folder without a matching one was never finished.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .checksums import sha256
from .loop import Run
from .place import agreed, spread_like, write_parts, write_tensors
from .records import Evaluation, Step, TrainConfig

PARAMETERS, OPTIMIZER, STATE, MANIFEST = (
    "parameters.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)


def save(run: Run, folder: str | Path) -> Path:
    """Write the run into `folder`/step-NNNNNN, unless a whole one is there; return that path.

    Of a sharded run every process writes its part, so all of them call this; else the main process does.
    """
    folder = Path(folder)
    place = folder / f"step-{run.step:06d}"
    if place.exists() and not faults(place, hashes=False):
        return place
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".writing-{agreed(uuid.uuid4().hex) if run.sharded else uuid.uuid4().hex}"
    try:
        draft.mkdir(
            exist_ok=run.sharded
        )  # in here, so that Ctrl-C finds no moment before the clean-up is armed
        names = _names(run)
        write = write_parts if run.sharded else write_tensors
        write(names, draft / PARAMETERS)
        write(_optimizer_tensors(run, names), draft / OPTIMIZER)
        if run.processes.is_main_process:
            _finish(run, draft, place)
    except BaseException:  # also Ctrl-C: leave no half-written folder behind
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if run.sharded:
        run.processes.wait_for_everyone()
    return place


def _finish(run: Run, draft: Path, place: Path) -> None:
    """Write state and manifest beside the tensors, and give the folder its name."""
    state = {
        "steps": [asdict(s) for s in run.steps],
        "evaluations": [asdict(e) for e in run.evaluations],
        "fixed": _fixed(run),
        "scaler": run.scaler.state_dict(),
        "config": asdict(run.config),
    }
    (draft / STATE).write_text(json.dumps(state), encoding="utf-8")
    listed = {
        n: {"bytes": (draft / n).stat().st_size, "sha256": sha256(draft / n)}
        for n in (PARAMETERS, OPTIMIZER, STATE)
    }
    for name in listed:
        _sync(draft / name)
    (draft / MANIFEST).write_text(json.dumps(listed, indent=1), encoding="utf-8")
    _sync(draft / MANIFEST)
    _sync(draft)
    if place.exists():  # damaged: kept for whoever wants to look, out of the way
        place.rename(Path(tempfile.mkdtemp(prefix="damaged-", dir=place.parent)) / place.name)
    draft.rename(place)
    _sync(place.parent)


def restore(run: Run, place: str | Path) -> None:
    """Put the run where the checkpoint was: weights, optimizer, scaler, history.

    Raises ValueError that lists everything that does not fit, before anything is changed.
    """
    place = _place(place)
    parameters, optimizer, state = _read(place)
    names = _names(run)
    _refuse_mismatch(place, parameters, names)
    known = asdict(run.config) | _fixed(run)
    saved = (
        asdict(TrainConfig()) | state["config"] | state["fixed"]
    )  # an older checkpoint lacks newer settings
    free = ("micro_batch_size", "precision", "evaluate_every", "patience")
    other = [k for k in known if k not in free and known[k] != saved.get(k)]
    if other:
        raise ValueError(
            f"{place}: saved with "
            + ", ".join(f"{k}={saved.get(k)}" for k in other)
            + ", this run has "
            + ", ".join(f"{k}={known[k]}" for k in other)
            + "; use the saved settings to go on, or start a new run in another folder"
        )
    _copy(parameters, names)
    run.optimizer.load_state_dict(_optimizer_state(run, names, optimizer))
    run.scaler.load_state_dict(state["scaler"])
    run.steps[:] = [_record(Step, s) for s in state["steps"]]
    run.evaluations[:] = [_record(Evaluation, e) for e in state["evaluations"]]


def restore_parameters(run: Run, place: str | Path) -> None:
    """Only the trained weights of a checkpoint, as for prediction; the run's optimizer and history stay."""
    place = _place(place)
    parameters, _, _ = _read(place)
    _refuse_mismatch(place, parameters, _names(run))
    _copy(parameters, _names(run))


def latest(folder: str | Path, *, hashes: bool = True) -> Path | None:
    """The newest whole checkpoint in `folder`, or None; a damaged one is skipped with a warning."""
    for place in reversed(all_in(folder)):
        damage = faults(place, hashes=hashes)
        if not damage:
            return place
        warnings.warn(
            f"checkpoint {place} is damaged ({'; '.join(damage)}); taking the one before", stacklevel=2
        )
    return None


def best(folder: str | Path, evaluations: Sequence[Evaluation] | None = None, *, hashes: bool = True) -> Path:
    """The whole checkpoint in `folder` with the lowest validation loss, by `evaluations` or its newest.

    A loss that is no number is never the lowest.
    """
    newest = latest(folder, hashes=hashes)
    if newest is None:
        raise ValueError(f"{folder}: expected a whole checkpoint, got none; train first, or restore a copy")
    if evaluations is None:
        saved = json.loads((newest / STATE).read_text(encoding="utf-8"))["evaluations"]
        evaluations = [_record(Evaluation, e) for e in saved]
    finite = [e for e in evaluations if math.isfinite(e.scores["loss"])]
    if not finite:
        return newest
    step = min(finite, key=lambda e: e.scores["loss"]).step
    place = Path(folder) / f"step-{step:06d}"
    if not place.exists() or faults(place, hashes=hashes):
        warnings.warn(f"the best checkpoint {place} is damaged or gone; taking {newest.name}", stacklevel=2)
        return newest
    return place


def all_in(folder: str | Path) -> list[Path]:
    """Every checkpoint folder, oldest first, whole or not."""
    places = (p for p in Path(folder).glob("step-*") if p.is_dir() and p.name[5:].isdigit())
    return sorted(places, key=lambda p: int(p.name[5:]))


def belongs(run: Run, place: Path) -> bool:
    """Whether the run has done the updates that the whole checkpoint in `place` has done."""
    saved = json.loads((place / STATE).read_text(encoding="utf-8"))["steps"]
    return [s["loss"] for s in saved] == [s.loss for s in run.steps[: len(saved)]]


def prune(folder: str | Path, *, keep: int = 2, evaluations: Sequence[Evaluation] | None = None) -> None:
    """Delete all but the newest `keep` checkpoints and the best one."""
    for draft in Path(folder).glob(".writing-*"):  # what a killed process left
        shutil.rmtree(draft)
    kept = {*all_in(folder)[-keep:], best(folder, evaluations, hashes=False)}
    for place in all_in(folder):
        if place not in kept:
            # the manifest first, so that an interrupted deletion is no checkpoint
            (place / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(place)


def faults(place: Path, *, hashes: bool = True) -> list[str]:
    """What is wrong with a checkpoint's files; empty for a whole one. `hashes`: not sizes alone."""
    try:
        listed = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        expectations = {
            n: {k: listed[n][k] for k in ("bytes", "sha256")} for n in (PARAMETERS, OPTIMIZER, STATE)
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ["no readable manifest that lists every file"]
    damage = []
    for name, expected in expectations.items():
        file = place / name
        if not file.is_file():
            damage.append(f"{name} is missing")
        elif file.stat().st_size != expected["bytes"]:
            damage.append(f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}")
        elif hashes and sha256(file) != expected["sha256"]:
            damage.append(f"{name} has another SHA-256")
    return damage


def _fixed(run: Run) -> dict:
    """What else a resumed run has in common with the saved one: the rows of the table and the length."""
    rows = [
        f"{g.name} x{g.lr_scale:g} from epoch {g.from_epoch}"
        + ("" if g.weight_decay is None else f", decay {g.weight_decay:g}")
        for g in run.tuned.groups
    ]
    return {"groups": rows, "updates": run.total}


def _names(run: Run) -> dict[str, torch.nn.Parameter]:
    """The parameters in the table by their name, as they are placed now."""
    named = dict(run.tuned.model.named_parameters())
    return {name: named[name] for group in run.tuned.groups for name in group.parameters}


def _record(kind: type, saved: dict):
    """A record from a file that may be older or newer than the record's fields."""
    return kind(**{f.name: saved[f.name] for f in fields(kind) if f.name in saved})


def _place(place: str | Path | None) -> Path:
    if place is None:  # what `latest` gives for a folder without a whole checkpoint
        raise ValueError(
            "expected a checkpoint, got None: the folder holds no whole one; train from the start"
        )
    return Path(place)


def _read(place: Path) -> tuple[dict, dict, dict]:
    damage = faults(place)
    if damage:
        raise ValueError(f"{place}: the checkpoint is damaged: {'; '.join(damage)}; use another one")
    try:
        return (
            load_file(place / PARAMETERS),
            load_file(place / OPTIMIZER),
            json.loads((place / STATE).read_text(encoding="utf-8")),
        )
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{place}: the checkpoint cannot be read ({error}); use another one") from None


def _refuse_mismatch(place: Path, saved: dict, names: dict) -> None:
    mismatches = [f"{n} is not trained here" for n in saved if n not in names]
    mismatches += [f"{n} is not in the checkpoint" for n in names if n not in saved]
    mismatches += [
        f"{n} is {tuple(saved[n].shape)} there and {tuple(p.shape)} here"
        for n, p in names.items()
        if n in saved and saved[n].shape != p.shape
    ]
    if mismatches:
        shown = "; ".join(mismatches[:6]) + (
            f"; and {len(mismatches) - 6} more" if len(mismatches) > 6 else ""
        )
        raise ValueError(
            f"{place}: saved by another strategy or model: {shown}; apply the strategy it was saved with"
        )


def _copy(saved: dict, names: dict) -> None:
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(spread_like(saved[name], parameter))


def _optimizer_tensors(run: Run, names: dict) -> dict[str, torch.Tensor]:
    """AdamW's averages and counters; a counter as (1,), because torch's joining of parts makes () a zero."""
    return {
        f"{name}|{key}": torch.atleast_1d(torch.as_tensor(value))
        for name, parameter in names.items()
        for key, value in run.optimizer.state.get(parameter, {}).items()
    }


def _optimizer_state(run: Run, names: dict, tensors: dict) -> dict:
    places = {id(p): i for i, p in enumerate(p for g in run.optimizer.param_groups for p in g["params"])}
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        name, _, field = key.rpartition("|")
        like = value.reshape(()) if field == "step" else spread_like(value, names[name])
        state.setdefault(places[id(names[name])], {})[field] = like
    return {"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]}


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows has no handle for a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
