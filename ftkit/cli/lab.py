"""ftkit lab: JupyterLab on the course's first notebook."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

HELP = "open the course in JupyterLab, at notebook 00"
FIRST = "00_start_here.ipynb"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to serve; anything else is JupyterLab's own configuration."""
    parser.add_argument(
        "--no-browser", action="store_true", help="only serve; the address with its token is printed"
    )
    parser.add_argument(
        "--port", type=int, default=8888, help="8888 by default; the next free one if it is taken"
    )


def run(given: argparse.Namespace) -> int:
    """Replace this process by JupyterLab, serving the repository on the loopback address, with a token."""
    from ..scales import data_folder

    notebooks = data_folder().parent / "notebooks"
    if not (notebooks / FIRST).is_file():
        raise ValueError(
            f"expected {notebooks / FIRST}, which is not there; run ftkit lab from a clone of the repository"
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError(
            "expected JupyterLab, which is not installed; install it with pip install -r requirements.txt"
        )
    command = [sys.executable, "-m", "jupyterlab", f"--port={given.port}", "--ServerApp.ip=127.0.0.1"]
    command += [
        f"--ServerApp.root_dir={notebooks.parent}",
        f"--LabApp.default_url=/lab/tree/notebooks/{FIRST}",
    ]
    command += ["--LabApp.extension_manager=readonly"]  # nothing here asks the network for anything
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if given.no_browser:
        command.append("--no-browser")
    # root is usual in a container; the server stays on loopback, behind its token
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    sys.stdout.flush()
    os.execv(sys.executable, command)
