"""setup() looks at the machine once and says what the notebooks will use: scale, device, precision, seed."""

from __future__ import annotations

import logging
import os
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """A size of hardware and what the course runs on it."""

    encoder: str
    decoder: str
    max_tokens: int  # longer texts are cut, and the task says how many were
    meant_for: str


SCALES = {
    "laptop": Scale("sentence-transformers/all-MiniLM-L6-v2", "tiny-gpt", 128, "a CPU with 2 cores, offline"),
    "colab": Scale("google-bert/bert-base-uncased", "openai-community/gpt2", 256, "a free T4 and the hub"),
    "server": Scale("FacebookAI/roberta-large", "Qwen/Qwen3-8B", 512, "a GPU of 40 GB or more and the hub"),
}


@dataclass(frozen=True)
class Lab:
    """What this session works with."""

    scale: str  # a name in SCALES
    device: str  # "cpu" or "cuda"
    precision: str  # what the device computes natively: "fp32", "bf16" or "fp16"
    seed: int


def setup(*, scale: str | None = None, seed: int = 0) -> Lab:
    """Choose the scale, seed every generator, print one line.

    `scale` is "laptop", "colab", "server" or "auto" (what the hardware carries); without it the environment
    variable FTKIT_SCALE decides, and without that "laptop". The choice is kept in FTKIT_SCALE, where
    `models` and the processes started from here find it.
    """
    import numpy
    import torch

    chosen = scale_name(scale)
    os.environ["FTKIT_SCALE"] = chosen
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # PEFT imports it; it misses the hub's kernels
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    lab = Lab(chosen, device(), native_precision(), seed)
    print(f"ftkit: {lab.scale} scale on {lab.device}, {lab.precision}, seed {lab.seed}")
    return lab


def scale_name(asked: str | None = None) -> str:
    """The name of the scale in force: the argument, else FTKIT_SCALE, else laptop."""
    asked = asked or os.environ.get("FTKIT_SCALE") or "laptop"
    if asked == "auto":
        return _largest_that_fits()
    if asked not in SCALES:
        raise ValueError(
            f"expected a scale out of {', '.join(SCALES)} or auto, found {asked!r}; set scale= or FTKIT_SCALE"
        )
    return asked


def _largest_that_fits() -> str:
    import torch

    if not torch.cuda.is_available():
        return "laptop"
    return "server" if torch.cuda.get_device_properties(0).total_memory >= 39e9 else "colab"


def device() -> str:
    """ "cuda" where there is a usable GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def native_precision() -> str:
    """What the device computes natively: bf16 from compute capability 8.0, fp16 below, fp32 on a CPU.

    `torch.cuda.is_bf16_supported()` is not asked: it says yes on a T4, which emulates bf16.
    """
    import torch

    if not torch.cuda.is_available():
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"


def data_folder() -> Path:
    """The repository's data/ folder; FTKIT_DATA names another."""
    folder = Path(os.environ.get("FTKIT_DATA") or Path(__file__).parent.parent / "data")
    if not folder.is_dir():
        raise ValueError(
            f"expected the course's data in {folder}, found nothing; run from a clone of the repository, "
            "installed with pip install -e ., or set FTKIT_DATA to its data folder"
        )
    return folder
