"""setup() looks at the machine once and says what the notebooks will use: scale, device, precision, seed."""

from __future__ import annotations

import logging
import os
import random
import sys
from dataclasses import dataclass

from ftkit.place import device, native_precision
from ftkit.scales import scale_name

from .kernel import listen


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

    if "IPython" in sys.modules:
        from IPython import get_ipython

        listen(get_ipython())
    chosen = scale_name(scale)
    os.environ["FTKIT_SCALE"] = chosen
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # PEFT imports it; it misses the hub's kernels
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    lab = Lab(chosen, device(), native_precision(), seed)
    print(f"ftkit: {lab.scale} scale on {lab.device}, {lab.precision}, seed {lab.seed}")
    return lab
