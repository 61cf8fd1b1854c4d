"""The form of a result: float or tensor, which numbers, list or tuple. Values decide; forms are converted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch


@dataclass(frozen=True)
class Form:
    """How a result is written down, whatever its values."""

    kind: str  # "tensor", "array", "float", "int", "bool", "list", "tuple", "dict" or "" for anything else
    numbers: str = ""  # the dtype of a tensor or an array
    parts: tuple = ()  # forms of a list's or tuple's values in order, or a dict's (key, form)

    def __str__(self) -> str:
        return f"{self.kind} of {self.numbers}" if self.numbers else self.kind or "another type"


def form_of(value: Any) -> Form | None:
    """The form of a result; None for None."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        return Form("tensor", str(value.dtype).removeprefix("torch."))
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return Form("array", str(value.dtype))
    if isinstance(value, (list, tuple)):
        return Form("list" if isinstance(value, list) else "tuple", parts=tuple(map(form_of, value)))
    if isinstance(value, dict):
        return Form("dict", parts=tuple((key, form_of(one)) for key, one in value.items()))
    return Form(type(value).__name__ if type(value) in (bool, int, float) else "")


def one_form(forms: Sequence[Form | None]) -> Form | None:
    """The form that all calls share; of lists of several lengths, the longest."""
    return max(filter(None, forms), key=lambda form: len(form.parts), default=None)


def as_form(answer: Callable, form: Form) -> Callable:
    """The answer with every result converted."""

    @functools.wraps(answer)
    def converted(*arguments, **named):
        inputs = (*arguments, *named.values())
        own = frozenset(one.dtype for one in inputs if isinstance(one, torch.Tensor))
        return convert(answer(*arguments, **named), form, own=own)

    return converted


def convert(value: Any, form: Form | None, *, own: frozenset[torch.dtype] = frozenset()) -> Any:
    """The same values in another form. A tensor keeps its gradient, its device, and a dtype in `own`."""
    if form is None or value is None:
        return value
    if form.kind == "tensor":
        dtype = getattr(torch, form.numbers)
        if isinstance(value, (list, tuple)) and any(isinstance(one, torch.Tensor) for one in value):
            value = torch.stack([torch.as_tensor(one) for one in value])
        tensor = torch.as_tensor(value)
        return tensor if tensor.dtype in own and _sort(tensor.dtype) == _sort(dtype) else tensor.to(dtype)
    if form.kind == "array":
        plain = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        return numpy.asarray(plain, dtype=form.numbers)
    if form.kind in ("float", "int", "bool"):
        plain = value.item() if hasattr(value, "item") else value
        return {"float": float, "int": int, "bool": bool}[form.kind](plain)
    if form.kind in ("list", "tuple"):
        return _sequence(value, form, own)
    if form.kind == "dict" and isinstance(value, dict):
        return {key: convert(one, dict(form.parts).get(key), own=own) for key, one in value.items()}
    return value


def _sort(dtype: torch.dtype) -> str:
    return "bool" if dtype == torch.bool else "float" if dtype.is_floating_point else "int"


def _sequence(value: Any, form: Form, own: frozenset[torch.dtype]) -> Any:
    """A list or tuple: part by part as the reference's, the last part's form for all beyond."""
    if hasattr(value, "tolist") and not any(part and part.kind in ("tensor", "array") for part in form.parts):
        value = value.tolist()
    parts = [*form.parts] or [None]
    kinds = [*parts, *parts[-1:] * max(len(value) - len(parts), 0)]
    converted = [convert(one, kind, own=own) for one, kind in zip(value, kinds, strict=False)]
    return converted if form.kind == "list" else tuple(converted)
