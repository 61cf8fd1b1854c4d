"""python tests/benchmarks: time the training loop; --tables: write README.md from the newest result."""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]  # ftkit, and this folder as the package `benchmarks`

from benchmarks import command, speed  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=command.HELP)
    command.arguments(parser)
    parser.add_argument("--tables", action="store_true", help="only write README.md from the newest result")
    given = parser.parse_args()
    if given.tables:
        speed.README.write_text(speed.page(), encoding="utf-8")
        sys.exit(0)
    try:
        sys.exit(command.run(given))
    except ValueError as error:
        sys.exit(f"error: {error}")
