"""python notebooks/course refresh | lint | data | workshop | pretrain. Exit code 1: something is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the package `course` is found

from course import pretrain_command
from course.author.notebook import address, notebooks, root


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python notebooks/course", description="For instructors and CI.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("refresh", help="run notebooks and store their outputs")
    verb.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    verb.add_argument("--stamp-only", action="store_true", help="only the Colab link and the set-up cell")
    verb = verbs.add_parser("lint", help="all faults of the notebooks, one per line")
    verb.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    verbs.add_parser("data", help="check data/reviews: labels, columns, splits, overlap")
    verb = verbs.add_parser("workshop", help="a folder to hand out: notebooks without outputs")
    verb.add_argument("folder", type=Path, help="new or empty")
    verb = verbs.add_parser("pretrain", help=pretrain_command.HELP)
    pretrain_command.arguments(verb)
    asked = parser.parse_args(arguments)
    does = {"refresh": _refresh, "lint": _lint, "data": _data, "workshop": _workshop}
    try:
        return (does | {"pretrain": pretrain_command.run})[asked.verb](asked)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1


def _refresh(asked) -> int:
    from course.author import contents
    from course.author.refresh import refresh

    place, failed = root(), []
    public = address(place)
    for file in asked.notebooks or notebooks(place):
        try:
            done = refresh(file, address=public, stamp_only=asked.stamp_only, root=place)
        except (ValueError, RuntimeError) as error:
            print(error, file=sys.stderr, flush=True)
            failed.append(file.stem)
            continue
        print(f"{file.stem}: {done.seconds:.0f} s, {done.size / 1024:.0f} KB", flush=True)
        for warning in done.warnings:
            print(f"  warning: {warning}", file=sys.stderr, flush=True)
    for name in contents.refresh(place):
        print(f"{name}: contents")
    if failed:
        print(f"not refreshed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _lint(asked) -> int:
    from course.author.lint import lint, lint_course

    place = root()
    files = asked.notebooks or notebooks(place)
    faults = [fault for file in files for fault in lint(file, root=place)]
    if not asked.notebooks:
        faults += lint_course(place)
    for fault in faults:
        print(fault)
    print(f"{len(files)} notebooks, {len(faults)} faults", file=sys.stderr)
    return 1 if faults else 0


def _data(asked) -> int:
    from course.author.overlap import examine

    report = examine(root() / "data")
    for said in (*report.counts, *report.faults):
        print(said)
    return 1 if report.faults else 0


def _workshop(asked) -> int:
    from course.author.workshop import workshop

    count = workshop(asked.folder, root())
    print(f"{asked.folder}: {count} notebooks without outputs, and WORKSHOP.md says how to open them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
