"""Freeze, find and replace: the only code that edits a model's tree or asks what kind of layer it has."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .records import Group

HEADS = ("classifier", "score", "qa_outputs")  # what transformers and ftkit call a new output layer


def freeze(model: nn.Module) -> None:
    """No parameter of the model gets a gradient until a strategy says so."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def replace(model: nn.Module, targets: tuple[str, ...], wrap: Callable[[nn.Module], nn.Module]) -> list[str]:
    """Put `wrap(module)` in the place of every module whose name ends in one of `targets`.

    Returns the full names that were replaced. Raises ValueError for a target that names no module and lists
    those that could have been meant.
    """
    found = [n for n, _ in model.named_modules() if n.rpartition(".")[2] in targets]
    missing = [t for t in targets if not any(n.rpartition(".")[2] == t for n in found)]
    if missing:
        raise ValueError(
            f"expected layers named {', '.join(targets)}, found none named {', '.join(missing)}; "
            f"this model's linear layers are {', '.join(linear_names(model))}"
        )
    wrapped = {name: wrap(model.get_submodule(name)) for name in found}  # all of them, or none is put in
    for name, module in wrapped.items():
        put(model, name, module)
    return found


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Let `module` stand where the module called `name` stood."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of all linear layers, each once."""
    return sorted({n.rpartition(".")[2] for n, m in model.named_modules() if is_linear(m)})


def is_linear(module: nn.Module) -> bool:
    """Whether it maps (..., in) to (..., out) by one matrix: nn.Linear, or GPT-2's transposed Conv1D."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def is_transposed(layer: nn.Module) -> bool:
    """Whether the weight is stored as (in, out), as GPT-2's Conv1D does, rather than (out, in)."""
    return not isinstance(layer, nn.Linear)


def in_out(layer: nn.Module) -> tuple[int, int]:
    """(in, out) features of a linear layer; raises ValueError for any other module."""
    if not is_linear(layer):
        raise ValueError(f"expected a linear layer, found {type(layer).__name__}; choose other targets")
    rows, columns = layer.weight.shape
    return (rows, columns) if is_transposed(layer) else (columns, rows)


def head(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the task's new output layer; empty for a language model: its output is pretrained."""
    return [p for name, module in model.named_children() if name in HEADS for p in module.parameters()]


def layer_groups(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """[(name, parameters)] from the input side to the head: embeddings, one entry per block, head."""
    blocks = max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len, default=None)
    if blocks is None:
        raise ValueError(f"expected a model with a list of blocks, found none in {type(model).__name__}")
    inside = [list(block.parameters()) for block in blocks]
    in_block = {id(p) for params in inside for p in params}
    in_head = {id(p) for p in head(model)}
    rest = [p for p in model.parameters() if id(p) not in in_block]
    named = [
        ("embeddings", [p for p in rest if id(p) not in in_head]),
        *((f"block {i}", params) for i, params in enumerate(inside)),
        ("head", [p for p in rest if id(p) in in_head]),
    ]
    return [(name, params) for name, params in named if params]


def trainable(model: nn.Module, params: list[nn.Parameter], *, name: str) -> tuple[Group, ...]:
    """The table of a strategy with one speed: `params` in one row, the task's head in another."""
    output = head(model)
    chosen = [p for p in params if all(p is not h for h in output)]
    rows = (Group(name, tuple(chosen)), Group("head", tuple(output)))
    for parameter in (*chosen, *output):
        parameter.requires_grad_(True)
    return tuple(row for row in rows if row.params)
