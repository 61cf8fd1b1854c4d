"""ftkit doctor | finetune | predict | compare | benchmark | pretrain | lab: for those who outgrow cells."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import benchmark, compare, doctor, finetune, lab, predict, pretrain

VERBS = {
    "doctor": doctor,
    "finetune": finetune,
    "predict": predict,
    "compare": compare,
    "benchmark": benchmark,
    "pretrain": pretrain,
    "lab": lab,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 2 after bad input (one line on stderr), 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="ftkit", description="Fine-tune language models on your own data.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        one = verbs.add_parser(name, help=module.HELP, description=module.HELP)
        module.arguments(one)
    given = parser.parse_args(arguments)
    try:
        return VERBS[given.verb].run(given)
    except (ValueError, FloatingPointError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # with several processes, the first speaks for all
            print(f"ftkit: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ftkit: stopped", file=sys.stderr)
        return 130
