"""claim: a sentence of fact that is a test."""

from __future__ import annotations

import json
import math
import os
from typing import Any


def claim(
    number: str,
    text: str,
    measured: Any,
    *,
    below: float | None = None,
    above: float | None = None,
    between: tuple[float, float] | None = None,
    equals: Any = None,
) -> None:
    """Print the sentence, the measured value and its bound; raise AssertionError for a false claim.

    Give exactly one bound. What stands between the last colon and the bound in brackets is the value: nbval's
    sanitizer (tests/course/sanitize.cfg) takes it out before two runs are compared. With FTKIT_CLAIMS=file,
    each claim also appends a JSON line with what it measured.
    """
    bounds = {"below": below, "above": above, "between": between, "equals": equals}
    given = {k: v for k, v in bounds.items() if v is not None}
    if len(given) != 1:
        raise ValueError(
            f"claim {number}: expected one of {', '.join(bounds)}, got {', '.join(given) or 'none'}"
        )
    kind, bound = next(iter(given.items()))
    value = measured.item() if hasattr(measured, "item") else measured
    holds = _holds(kind, bound, value)
    limits = _limits(kind, bound)
    _log({"claim": number, "text": text, "bound": limits, "measured": value, "holds": holds})
    if not holds:
        raise AssertionError(f"claim {number} is false: {text}; expected {limits}, measured {value}")
    print(f"✓ {number}  {text}{_value(kind, bound, value)}")


def _value(kind: str, bound: Any, value: Any) -> str:
    if bound is True:
        return ""
    if kind == "equals":
        return f": {value}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
    return f": {number}  ({_limits(kind, bound).removeprefix('between ').replace(' and ', ' to ')})"


def _holds(kind: str, bound: Any, value: Any) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return False
    if kind == "below":
        return value < bound
    if kind == "above":
        return value > bound
    if kind == "between":
        return bound[0] <= value <= bound[1]
    return type(value) is type(bound) and value == bound


def _limits(kind: str, bound: Any) -> str:
    if kind == "between":
        return f"between {bound[0]:g} and {bound[1]:g}"
    if kind == "equals":
        return "true" if bound is True else f"exactly {bound}"
    return f"{kind} {bound:g}"


def _log(entry: dict) -> None:
    place = os.environ.get("FTKIT_CLAIMS")
    if place:
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
