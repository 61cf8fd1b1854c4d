"""ftkit doctor: what this machine has, what fits on it, and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import shutil
import socket
from urllib.parse import urlparse

HELP = "report hardware, precision, what fits, versions and network"
PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "accelerate",
    "peft",
    "jupyterlab",
    "ipywidgets",
    "matplotlib",
    "nbval",
)
# bytes per parameter in fp32: the weight, and for what trains the gradient and AdamW's two moments
BYTES = {"full": 16, "lora": 4.2, "head_only": 4}
SIZES = {
    "MiniLM-L6, 23M": 22.7e6,
    "BERT-base, 110M": 110e6,
    "RoBERTa-large, 355M": 355e6,
    "a model of 1B": 1e9,
    "a model of 8B": 8e9,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing to choose but whether to look at the network."""
    parser.add_argument("--offline", action="store_true", help="do not try to reach the hub")


def run(given: argparse.Namespace) -> int:
    """Print the report; 0 when the laptop scale can run, 2 when its model or data is missing."""
    from .. import models
    from ..scales import SCALES, data_folder, scale_name

    memory, where = _memory()
    print("hardware")
    for line in _hardware():
        print(f"  {line}")
    print(
        f"scale\n  {scale_name()} (set FTKIT_SCALE to {', '.join(SCALES)} or auto; auto would take "
        f"{scale_name('auto')})"
    )
    print(f"what fits in {memory / 2**30:.1f} GiB of {where} (weights, gradients, AdamW; texts come on top)")
    for name, size in SIZES.items():
        fits = [s for s, b in BYTES.items() if size * b < 0.8 * memory]
        print(f"  {name:<20} {', '.join(fits) or 'none of them in fp32'}")
    print("versions")
    print("  " + ", ".join(f"{p} {_version(p)}" for p in ("python", *PACKAGES)))
    missing = []
    print("course")
    for what, look in (
        ("data", data_folder),
        ("laptop's encoder", lambda: models.folder(SCALES["laptop"].encoder)),
    ):
        try:
            print(f"  ✓ {what}: {look()}")
        except ValueError as error:
            missing.append(what)
            print(f"  ✗ {what}: {error}")
    print(f"network\n  {'not tried' if given.offline else _hub()}")
    print(f"disk\n  {shutil.disk_usage('.').free / 2**30:.0f} GiB free here")
    return 2 if missing else 0


def _hardware() -> list[str]:
    import psutil
    import torch

    from ..place import native_precision

    ram = psutil.virtual_memory().total / 2**30
    lines = [
        f"{platform.machine()}, {psutil.cpu_count()} cores, {ram:.0f} GiB of memory, "
        f"{torch.get_num_threads()} threads for torch"
    ]
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        lines.append(
            f"GPU {number}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability "
            f"{gpu.major}.{gpu.minor}"
        )
    if not torch.cuda.is_available():
        lines.append("no GPU that torch can use")
    return [*lines, f"trains in {native_precision()}"]


def _memory() -> tuple[float, str]:
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, "GPU memory"
    return psutil.virtual_memory().total, "memory"


def _version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _hub() -> str:
    from huggingface_hub import constants

    host = urlparse(constants.ENDPOINT).hostname
    try:
        with socket.create_connection((host, 443), timeout=3):
            return f"{host} answers"
    except OSError as error:
        return f"{host} does not answer ({error}); everything of the laptop scale works without it"
