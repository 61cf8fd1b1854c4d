"""The first difference between a result and the expected one, in words a learner can use.

The values decide: a float, a tensor of one number, an array or a list are taken alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
import torch

MANY = 12  # numbers of a tensor that are shown; a larger one is told by its shape


def difference(expected: Any, given: Any, *, tolerance: float) -> str | None:
    """What is different, or None where nothing is."""
    if isinstance(expected, dict):
        return _dicts(expected, given, tolerance)
    if isinstance(expected, (list, tuple)):
        return _sequences(expected, given, tolerance)
    if isinstance(expected, (torch.Tensor, numpy.ndarray)):
        return _tensors(expected, given, tolerance)
    given = given.item() if hasattr(given, "item") and math.prod(getattr(given, "shape", ())) == 1 else given
    if isinstance(expected, (bool, str)) or expected is None:
        alike = (bool, int, float) if isinstance(expected, bool) else type(expected)
        return None if isinstance(given, alike) and given == expected else _both(expected, given)
    return _numbers(expected, given, tolerance)


def shown(value: Any) -> str:
    """A value in at most about 60 characters; a small tensor by its numbers, a large one by its shape."""
    if isinstance(value, (torch.Tensor, numpy.ndarray)):
        if math.prod(value.shape) > MANY:
            return f"a tensor of shape {tuple(value.shape)}"
        return shown(_rounded(value.tolist()))
    if type(value) in (list, tuple) and any(isinstance(one, (torch.Tensor, numpy.ndarray)) for one in value):
        parts = ", ".join(map(shown, value))
        text = f"[{parts}]" if isinstance(value, list) else f"({parts})"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else repr(_rounded(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return _rounded(value.item())
    if type(value) in (list, tuple):
        return type(value)(map(_rounded, value))
    return value


def _both(expected: Any, given: Any) -> str:
    return f"expected {shown(expected)}, got {shown(given)}"


def _numbers(expected: Any, given: Any, tolerance: float) -> str | None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return f"expected {shown(expected)}, got {_kind(given)}"
    if math.isnan(given) and not math.isnan(expected):
        return f"{_both(expected, given)}: somewhere 0 is divided by 0, or inf is subtracted from inf"
    same = math.isclose(expected, given, rel_tol=tolerance, abs_tol=tolerance)
    return None if same else _both(float(expected), float(given))


def _tensors(expected: Any, given: Any, tolerance: float) -> str | None:
    if isinstance(given, (list, tuple)) and any(isinstance(one, torch.Tensor) for one in given):
        shapes = {tuple(one.shape) if isinstance(one, torch.Tensor) else () for one in given}
        given = torch.stack([torch.as_tensor(one) for one in given]) if len(shapes) == 1 else given
    try:
        expected, given = torch.as_tensor(expected).detach(), torch.as_tensor(given).detach()
    except (TypeError, ValueError, RuntimeError):  # no numbers, or rows of several lengths
        return f"expected a tensor of shape {tuple(expected.shape)}, got {_kind(given)}"
    if expected.shape != given.shape:
        return f"expected shape {tuple(expected.shape)}, got {tuple(given.shape)}"
    if given.is_floating_point() and given.isnan().any() and not expected.isnan().any():
        return f"{int(given.isnan().sum())} of {given.numel()} values are nan"
    near = torch.isclose(expected.double(), given.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if near.all():
        return None
    if expected.numel() <= MANY:
        return _both(expected, given)
    place = tuple((~near).nonzero()[0].tolist())
    values = _both(expected[place], given[place])
    return f"{values} at {list(place)}; {int((~near).sum())} of {near.numel()} differ"


def _sequences(expected: Any, given: Any, tolerance: float) -> str | None:
    if isinstance(given, (torch.Tensor, numpy.ndarray)) and len(given.shape):
        given = list(given)
    if not isinstance(given, (list, tuple)):
        return f"expected a {type(expected).__name__} of {len(expected)} values, got {_kind(given)}"
    if len(expected) != len(given):
        return f"expected {len(expected)} values, {shown(expected)}, got {len(given)}, {shown(given)}"
    for place, (a, b) in enumerate(zip(expected, given, strict=True)):
        reason = difference(a, b, tolerance=tolerance)
        if reason:
            return f"value {place}: {reason}"
    return None


def _dicts(expected: dict, given: Any, tolerance: float) -> str | None:
    if not isinstance(given, dict):
        return f"expected a dict with {shown(sorted(map(str, expected)))}, got {_kind(given)}"
    if set(expected) != set(given):
        return f"expected the keys {shown(sorted(map(str, expected)))}, got {shown(sorted(map(str, given)))}"
    for key, value in expected.items():
        reason = difference(value, given[key], tolerance=tolerance)
        if reason:
            return f"{key!r}: {reason}"
    return None


def _kind(value: Any) -> str:
    """A value that is no number, shown with its type: the type is what is wrong."""
    return "None" if value is None else f"{shown(value)}, which is of type {type(value).__name__}"
