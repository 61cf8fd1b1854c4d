"""Freeze, find and replace: the only code that edits a model's tree or asks what kind of layer it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from .families import HEADS, family
from .records import Group, Tuned

VOCABULARY = ("lm_head", "decoder", "embed_out")  # a language model's output layer, often its embedding


def freeze(model: nn.Module) -> None:
    """No parameter of the model gets a gradient until a strategy says so."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def replace(model: nn.Module, targets: tuple[str, ...], wrap: Callable[[nn.Module], nn.Module]) -> list[str]:
    """Put `wrap(module)` in the place of every module that one of `targets` names.

    A target is the end of a module's name ("query", "mlp.c_proj"), its parts perhaps patterns
    ("[0-9]*.output.dense"). Returns the full names that were replaced. Raises ValueError for a target that
    names no module and lists those that could have been meant.
    """
    by_target = {target: matching(model, target) for target in targets}
    found = [n for n, _ in model.named_modules() if any(n in names for names in by_target.values())]
    missing = [target for target, names in by_target.items() if not names]
    if missing:
        raise ValueError(
            f"expected layers named {', '.join(targets)}, found none named {', '.join(missing)}; "
            f"this model's linear layers are {', '.join(linear_names(model))}"
        )
    wrapped = {name: wrap(model.get_submodule(name)) for name in found}  # all of them, or none is put in
    for name, module in wrapped.items():
        put(model, name, module)
    return found


def matching(model: nn.Module, target: str) -> list[str]:
    """The modules whose names end in `target`, compared part by part."""
    parts = target.split(".")
    ends = ((name, name.split(".")[-len(parts) :]) for name, _ in model.named_modules() if name)
    return [n for n, end in ends if len(end) == len(parts) and all(map(fnmatchcase, end, parts))]


def unwrap(model: nn.Module, kind: type) -> nn.Module:
    """Put the `.base` of every module of that kind back in its place; the base comes back bit for bit."""
    for name, module in [(n, m) for n, m in model.named_modules() if isinstance(m, kind)]:
        put(model, name, module.base)
    return model


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Let `module` stand where the module called `name` stood."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of all linear layers, each once."""
    return sorted({n.rpartition(".")[2] for n, m in model.named_modules() if is_linear(m)})


def all_linear(model: nn.Module) -> tuple[str, ...]:
    """The names of all linear layers but for the output layer's."""
    return tuple(name for name in linear_names(model) if name not in (*HEADS, *VOCABULARY))


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
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features  # a 4-bit weight is packed and has another shape
    return tuple(layer.weight.shape)


def is_packed(layer: nn.Module) -> bool:
    """Whether the weight is stored in 4 bits by bitsandbytes."""
    return getattr(layer.weight, "quant_state", None) is not None


def matrix(layer: nn.Module) -> Tensor:
    """The weight of a linear layer as (out, in) in fp32, however it is stored; a copy where that differs."""
    if is_packed(layer):
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    weight = layer.weight.detach().float()
    return weight.T if is_transposed(layer) else weight


def with_matrix(layer: nn.Module, weight: Tensor) -> nn.Module:
    """The layer with another weight (out, in), stored as before; a 4-bit layer becomes a plain one."""
    if is_packed(layer):
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta")
        plain.bias, layer = layer.bias, plain
        dtype = torch.float32
    else:
        weight, dtype = weight.T if is_transposed(layer) else weight, layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype).contiguous(), requires_grad=False)
    return layer


def stand_in(wrapper: type) -> type:
    """Let a wrapper of a linear layer pass for it: some models read the weight of a layer, or its dtype."""
    wrapper.weight = property(lambda self: self.base.weight)
    wrapper.bias = property(lambda self: self.base.bias)
    return wrapper


def tensors(model: nn.Module) -> Iterator[Tensor]:
    """Everything that the model's weights take up: parameters, buffers, and what 4-bit ones are scaled by."""
    yield from model.parameters()
    yield from model.buffers()
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            yield from (t for t in vars(state).values() if isinstance(t, Tensor))
            state = state.state2  # with double quantisation the scales have scales


def trunk(model: nn.Module) -> tuple[str, nn.Module]:
    """(name, module) of what lies below the output layer: embeddings and blocks."""
    name = "trunk" if "trunk" in dict(model.named_children()) else getattr(model, "base_model_prefix", "")
    if name not in dict(model.named_children()):
        raise ValueError(
            f"expected a model with a trunk below its output layer, got {type(model).__name__}; use LoRA"
        )
    return name, model.get_submodule(name)


def context(model: nn.Module) -> int | None:
    """The most positions that the model has; None where it counts none, as with relative positions."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def reads_features(model: nn.Module) -> bool:
    """Whether the model's head reads one vector per text, which `model.features` gives."""
    return callable(getattr(model, "features", None))


def checkpoints_activations(model: nn.Module) -> bool:
    """Whether a block would be computed again in the backward pass, without the cache it had before."""
    return any(getattr(m, "gradient_checkpointing", False) for m in model.modules())


def head_names(model: nn.Module) -> list[str]:
    """Names of the parameters that are new for the task; a language model has none."""
    return [name for name, _ in model.named_parameters() if not set(HEADS).isdisjoint(name.split("."))]


def output_layer(model: nn.Module) -> nn.Linear | None:
    """The plain linear layer that makes a language model's logits; None where there is no such layer."""
    find = getattr(model, "get_output_embeddings", None)
    layer = find() if find else None
    return layer if type(layer) is nn.Linear else None  # not one that a strategy has wrapped


def before_output(model: nn.Module, layer: nn.Module, **inputs: Tensor) -> Tensor:
    """What the output layer would read, for every token: (batch, tokens, width)."""
    name = next(name for name, module in model.named_modules() if module is layer)
    put(model, name, nn.Identity())
    try:
        return model(**inputs).logits
    finally:
        put(model, name, layer)


def block_levels(model: nn.Module) -> list[list[nn.Module]]:
    """The blocks from the input side to the output; two towers have two at each level."""
    towers = getattr(model, "towers", None)
    if towers is not None:
        levels = [[level[0] for level in block_levels(tower)] for tower in towers()]
        return [list(level) for level in zip(*levels, strict=True)]
    known = family(model)
    names = [name for pattern in known.blocks for name in matching(model, pattern)]
    names = names or ([name for name in matching(model, known.alone)] if known.alone else [])
    if not names:
        raise ValueError(
            f"expected the blocks of {known.name} under {' and '.join(known.blocks)}, got none in "
            f"{type(model).__name__}; load the model by models.load"
        )
    return [[block] for name in names for block in model.get_submodule(name)]


def blocks(model: nn.Module) -> list[nn.Module]:
    """All blocks, from the input side to the output."""
    return [block for level in block_levels(model) for block in level]


def layer_groups(model: nn.Module) -> list[tuple[str, list[str]]]:
    """[(name, names of parameters)] from the input side to the output: embeddings, one entry per block, head.

    What lies behind a block and is pretrained (a stack's last norm, an encoder's prediction layer) belongs to
    the block before it; behind the last block of a model without a new head it is an entry, "output".
    """
    levels = block_levels(model)
    level_of = {id(p): i for i, level in enumerate(levels) for block in level for p in block.parameters()}
    shared = {part for one in (getattr(model, "towers", lambda: [model])()) for part in family(one).shared}
    heads, layers = head_names(model), [[] for _ in levels]
    embeddings, output, last = [], [], None
    for name, parameter in model.named_parameters():
        if name in heads:
            continue
        level = level_of.get(id(parameter))
        if level is not None:
            layers[level].append(name)
            last = level
        elif last is None or not shared.isdisjoint(name.split(".")):
            embeddings.append(name)
        elif last < len(levels) - 1 or heads:
            layers[last].append(name)
        else:
            output.append(name)
    named = [
        ("embeddings", embeddings),
        *((f"block {i}", names) for i, names in enumerate(layers)),
        ("head", heads) if heads else ("output", output),
    ]
    return [(name, names) for name, names in named if names]


def layer_parameters(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """`layer_groups` with the parameters themselves, as they are placed now."""
    return [(name, look_up(model, names)) for name, names in layer_groups(model)]


def look_up(model: nn.Module, names: Iterable[str]) -> list[nn.Parameter]:
    """The parameters of these names, as they are placed now."""
    named = dict(model.named_parameters())
    return [named[name] for name in names]


def trained_by(tuned: Tuned, *, besides: str | None = None) -> list[nn.Parameter]:
    """The parameters in a strategy's table; without those in rows whose name begins with `besides`."""
    rows = [g for g in tuned.groups if besides is None or not g.name.startswith(besides)]
    return look_up(tuned.model, [name for group in rows for name in group.parameters])


def rows(
    model: nn.Module, names: Iterable[str], *, name: str, lr_scale: float = 1.0, from_epoch: int = 0
) -> tuple[Group, ...]:
    """A row for the matrices among the parameters, and one without decay for biases, norms and factors.

    Weight decay pulls towards 0, where a matrix does nothing; a norm or a factor does nothing at 1.
    """
    dimensions = {n: p.ndim for n, p in model.named_parameters()}
    matrices = tuple(n for n in names if dimensions[n] > 1)
    others = tuple(n for n in names if dimensions[n] < 2)
    table = (
        Group(name, matrices, lr_scale, from_epoch),
        Group(f"{name} (no decay)", others, lr_scale, from_epoch, weight_decay=0.0),
    )
    return tuple(row for row in table if row.parameters)


def trainable(model: nn.Module, names: Iterable[str], *, name: str) -> tuple[Group, ...]:
    """The table of a strategy with one speed: these parameters, and the task's head in rows of its own."""
    new = head_names(model)
    table = rows(model, [n for n in names if n not in new], name=name) + rows(model, new, name="head")
    for parameter in look_up(model, [n for row in table for n in row.parameters]):
        parameter.requires_grad_(True)
    return table


def own_names(model: nn.Module, kind: type, names: Iterable[str]) -> list[str]:
    """Names of the parameters called `names` of every module of that kind: what a strategy has added."""
    added = {id(getattr(m, n)) for m in model.modules() if isinstance(m, kind) for n in names}
    return [name for name, p in model.named_parameters() if id(p) in added]
