"""A run folder: run.json with every setting, checkpoints/, results.json, loss.png, model-card.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

RECORD, CHECKPOINTS = "run.json", "checkpoints"


@dataclass(frozen=True)
class Settings:
    """All that decides a run's result. Defaults are for short texts on a laptop."""

    data: str
    text: str
    label: str
    validation: str | None = None
    test: str | None = None
    digests: dict[str, str] | None = None  # SHA-256 of the data files
    model: str = "encoder"
    strategy: str = "lora"
    rank: int | None = None  # of lora
    alpha: float | None = None  # of lora
    lr: float | None = None  # None: what is usual for the strategy
    epochs: int = 3
    batch_size: int = 32
    micro_batch_size: int | None = None
    max_tokens: int | None = None  # None: the scale's
    patience: int | None = None
    seed: int = 0
    labels: tuple[str, ...] = ()  # known once the data was read


def load(folder: Path) -> Settings:
    """The settings of a run folder; ValueError where there is none or it does not read."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a run folder, found none; make one with ftkit finetune --out {folder}"
        )
    if not (folder / RECORD).is_file():
        raise ValueError(f"{folder}: expected {RECORD} in the run folder, found none; is it another folder?")
    try:
        saved = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known = {f.name for f in fields(Settings)}
        if set(saved) - known:
            raise ValueError(f"unknown settings {sorted(set(saved) - known)}")
        return Settings(**saved | {"labels": tuple(saved["labels"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / RECORD}: not readable ({error}); restore it or train again") from None


def store(settings: Settings, folder: Path) -> None:
    """Write run.json into a folder that has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / RECORD, "x", encoding="utf-8") as file:
        json.dump(asdict(settings), file, indent=1, ensure_ascii=False)
