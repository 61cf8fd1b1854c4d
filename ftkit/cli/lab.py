"""ftkit lab: JupyterLab on the learner's own copies of the course's notebooks."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from .copies import Copies, copies

HELP = "open the course in JupyterLab, on copies of your own"
FIRST = "00_start_here.ipynb"
STARTUP = Path("course", "startup.py")  # what a kernel says of a stop and of a restart
DEFAULTS = Path(
    "course", "jupyter"
)  # of JupyterLab's settings, below the reader's own: no question about news
# JupyterLab keeps which tabs and panels are open in such a file; this one is called "default"
LAYOUT = Path(".lab", "default-37a8.jupyterlab-workspace")
FOLDED = {
    "data": {"layout-restorer:data": {"left": {"collapsed": True}, "right": {"collapsed": True}}},
    "metadata": {"id": "default"},
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to serve, and which copies to make afresh."""
    parser.add_argument(
        "--fresh",
        nargs="*",
        metavar="NUMBER",
        help="a new copy of these notebooks, as in --fresh 18; without a number, of all that have changed in "
        "the course. Yours is kept under another name",
    )
    parser.add_argument(
        "--only-copy", action="store_true", help="make the copies and stop: for VS Code and other editors"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only serve; the address with its token is printed"
    )
    parser.add_argument(
        "--port", type=int, default=8888, help="8888 by default; the next free one if it is taken"
    )


def run(given: argparse.Namespace) -> int:
    """Make the copies, then become JupyterLab, on the loopback address, behind a token."""
    from ..scales import data_folder

    notebooks = data_folder().parent / "notebooks"
    if not (notebooks / FIRST).is_file():
        raise ValueError(
            f"expected {notebooks / FIRST}, which is not there; run ftkit lab from a clone of the repository"
        )
    if importlib.util.find_spec("jupyterlab") is None and not given.only_copy:
        raise ValueError(
            "expected JupyterLab, which is not installed; install it with pip install -r requirements.txt"
        )
    done = copies(notebooks, fresh=given.fresh)
    for line in report(done, asked=given.fresh is not None):
        print(line)
    if given.only_copy:
        return 0
    layout = done.folder / LAYOUT
    if not layout.exists():  # later it is as the learner left it
        layout.parent.mkdir(exist_ok=True)
        layout.write_text(json.dumps(FOLDED), encoding="utf-8")
    sys.stdout.flush()
    return become(command(given, done.folder), environment(notebooks))


def report(done: Copies, *, asked: bool) -> list[str]:
    """What the learner should know of the copies, a line each."""
    lines = []
    if done.made:
        lines.append(
            f"{_notebooks(len(done.made))} copied without outputs to notebooks/{done.folder.name}: work "
            "there, the course's own stay as they are"
        )
    for stem, kept in done.renewed:
        lines.append(f"{stem} is a new copy; {f'yours is kept as {kept}' if kept else 'yours was untouched'}")
    if done.behind:
        numbers = " ".join(stem.split("_")[0] for stem in done.behind)
        lines.append(
            f"changed in the course since your copy was made: {', '.join(done.behind)}. For the new version "
            f"(yours is kept beside it): ftkit lab --fresh {numbers}"
        )
    if asked and not (done.renewed or done.made):
        lines.append("nothing has changed in the course; to start a notebook again: ftkit lab --fresh 18")
    return lines


def _notebooks(count: int) -> str:
    return "1 notebook" if count == 1 else f"{count} notebooks"


def command(given: argparse.Namespace, folder: Path) -> list[str]:
    """The command line of JupyterLab. The reader's own settings are neither read differently nor changed."""
    root, place = folder.parents[1], f"notebooks/{folder.name}"
    found = [sys.executable, "-m", "jupyterlab", f"--port={given.port}", "--ServerApp.ip=127.0.0.1"]
    found += [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{place}/{FIRST}"]
    found += [f"--LabApp.workspaces_dir={(folder / LAYOUT).parent}"]
    # nothing here asks the network for anything
    found += ["--LabApp.extension_manager=readonly", "--LabApp.news_url=None"]
    found += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if given.no_browser:
        found.append("--no-browser")
    # root is usual in a container; the server stays on loopback, behind its token
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        found.append("--allow-root")
    return found


def environment(notebooks: Path) -> dict[str, str]:
    """What JupyterLab and its kernels find beside the reader's own settings and startup file."""
    found = {"PYTHONSTARTUP": str(notebooks / STARTUP)} | os.environ
    paths = [os.environ.get("JUPYTER_CONFIG_PATH", ""), str(notebooks / DEFAULTS)]
    return found | {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def become(command: list[str], environment: dict[str, str]) -> int:
    """Replace this process by another; on Windows, where that leaves the console in disorder, wait for it."""
    if os.name != "nt":
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)
