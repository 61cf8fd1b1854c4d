"""ftkit doctor | finetune | predict | compare | lab: for those who outgrow cells."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .. import __version__
from . import compare, doctor, finetune, lab, predict

VERBS = {
    "doctor": doctor,
    "finetune": finetune,
    "predict": predict,
    "compare": compare,
    "lab": lab,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 2 after bad input (one line on stderr), 130 after Ctrl-C, and 141
    when whoever read the output has had enough, as `| head` does."""
    try:
        try:
            return _run(arguments)
        finally:
            print(end="", flush=True)  # at the interpreter's own flush nothing catches an error
    except OSError as error:  # of the standard output: `_run` has answered all others
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"ftkit: error: {error}", file=sys.stderr)
        return 2


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="ftkit", description="Fine-tune language models on your own data.")
    parser.add_argument("--version", action="version", version=f"ftkit {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, module in VERBS.items():
        one = verbs.add_parser(name, help=module.HELP, description=module.HELP)
        module.arguments(one)
    given = parser.parse_args(arguments)
    if given.verb is None:
        parser.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _in_a_line
            return VERBS[given.verb].run(given)
    except BrokenPipeError:
        raise
    except (ValueError, FloatingPointError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # with several processes, the first speaks for all
            print(f"ftkit: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ftkit: stopped", file=sys.stderr)
        return 130


def _in_a_line(message, *details, **more) -> None:
    """A warning as people read it, without the place in the code that it came from."""
    if os.environ.get("RANK", "0") == "0":
        print(f"ftkit: warning: {' '.join(str(message).split())}", file=sys.stderr)
