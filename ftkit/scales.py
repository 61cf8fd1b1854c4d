"""The sizes of hardware that the course and the commands know, and where the repository's data lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .place import device


@dataclass(frozen=True)
class Scale:
    """A size of hardware and what runs on it."""

    encoder: str
    decoder: str
    max_tokens: int  # longer texts are shortened, and the task counts them
    meant_for: str


SCALES = {
    "laptop": Scale("sentence-transformers/all-MiniLM-L6-v2", "tiny-gpt", 128, "a CPU with 2 cores, offline"),
    "colab": Scale("google-bert/bert-base-uncased", "openai-community/gpt2", 256, "a free T4 and the hub"),
    "server": Scale("FacebookAI/roberta-large", "Qwen/Qwen3-8B", 512, "a GPU of 40 GB or more and the hub"),
}


def scale_name(asked: str | None = None) -> str:
    """The name of the scale in force: the argument, else FTKIT_SCALE, else laptop."""
    asked = asked or os.environ.get("FTKIT_SCALE") or "laptop"
    if asked == "auto":
        return _largest_that_fits()
    if asked not in SCALES:
        raise ValueError(
            f"expected a scale out of {', '.join(SCALES)} or auto, got {asked!r}; set scale= or FTKIT_SCALE"
        )
    return asked


def _largest_that_fits() -> str:
    import torch

    if device() == "cpu":
        return "laptop"
    return "server" if torch.cuda.get_device_properties(0).total_memory >= 39e9 else "colab"


def data_folder() -> Path:
    """The repository's data/ folder; FTKIT_DATA names another."""
    folder = Path(os.environ.get("FTKIT_DATA") or Path(__file__).parent.parent / "data")
    if not folder.is_dir():
        raise ValueError(
            f"expected the course's data in {folder}, which is no folder; run from a clone of the "
            "repository, installed with pip install -e ., or set FTKIT_DATA to its data folder"
        )
    return folder
