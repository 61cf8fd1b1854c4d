"""The first difference between a result and the expected one, in words a learner can use."""

from __future__ import annotations

import math
from typing import Any


def difference(expected: Any, found: Any, *, tolerance: float) -> str | None:
    """What is different, or None where nothing is."""
    if isinstance(expected, dict):
        return _dicts(expected, found, tolerance)
    if isinstance(expected, (list, tuple)):
        return _sequences(expected, found, tolerance)
    if hasattr(expected, "shape") and hasattr(expected, "tolist"):
        return _tensors(expected, found, tolerance)
    if isinstance(expected, (bool, str)) or expected is None:
        return None if type(found) is type(expected) and found == expected else _says(expected, found)
    return _numbers(expected, found, tolerance)


def _says(expected: Any, found: Any) -> str:
    return f"expected {_short(expected)}, found {_short(found)}"


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _numbers(expected: Any, found: Any, tolerance: float) -> str | None:
    if hasattr(found, "shape") and math.prod(found.shape) == 1:
        found = found.item()
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return f"expected a number, found {type(found).__name__}"
    if math.isnan(found) and not math.isnan(expected):
        return "found nan: somewhere 0 is divided by 0, or inf is subtracted from inf"
    same = math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    return None if same else _says(float(expected), float(found))


def _tensors(expected: Any, found: Any, tolerance: float) -> str | None:
    import torch

    if not hasattr(found, "shape"):
        return f"expected a tensor of shape {tuple(expected.shape)}, found {type(found).__name__}"
    expected, found = torch.as_tensor(expected).detach(), torch.as_tensor(found).detach()
    if expected.shape != found.shape:
        return f"expected shape {tuple(expected.shape)}, found {tuple(found.shape)}"
    if found.is_floating_point() and found.isnan().any() and not expected.isnan().any():
        return f"{int(found.isnan().sum())} of {found.numel()} values are nan"
    near = torch.isclose(expected.double(), found.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if near.all():
        return None
    place = tuple((~near).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    said = _says(expected[place].item(), found[place].item())
    return f"{said}{where}; {int((~near).sum())} of {near.numel()} differ"


def _sequences(expected: Any, found: Any, tolerance: float) -> str | None:
    if not isinstance(found, (list, tuple)):
        return f"expected a {type(expected).__name__} of {len(expected)}, found {type(found).__name__}"
    if len(expected) != len(found):
        return f"expected {len(expected)} values, found {len(found)}"
    for place, (a, b) in enumerate(zip(expected, found, strict=True)):
        said = difference(a, b, tolerance=tolerance)
        if said:
            return f"value {place}: {said}"
    return None


def _dicts(expected: dict, found: Any, tolerance: float) -> str | None:
    if not isinstance(found, dict):
        return f"expected a dict with {_short(sorted(map(str, expected)))}, found {type(found).__name__}"
    if set(expected) != set(found):
        return (
            f"expected the keys {_short(sorted(map(str, expected)))}, found {_short(sorted(map(str, found)))}"
        )
    for key, value in expected.items():
        said = difference(value, found[key], tolerance=tolerance)
        if said:
            return f"{key!r}: {said}"
    return None
