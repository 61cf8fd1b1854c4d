"""Freeze, find and replace: the only code that edits a model's tree or asks what kind of layer it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .records import Group

HEADS = ("classifier", "score", "qa_outputs")  # what transformers and ftkit call a new output layer
VOCABULARY = ("lm_head", "decoder", "embed_out")  # and a language model's, often its embedding


@dataclass(frozen=True)
class Layout:
    """What a family of models calls the layers of a block; patterns as `replace` takes them."""

    keys_values: tuple[str, ...]
    attention_out: str  # its result is added to the residual stream
    feed_forward_out: str  # likewise


LAYOUTS = (
    Layout(("key", "value"), "attention.output.dense", "[0-9]*.output.dense"),  # BERT, RoBERTa, ELECTRA
    Layout(("c_attn",), "attn.c_proj", "mlp.c_proj"),  # GPT-2: queries, keys and values are one layer
    Layout(("k_proj", "v_proj"), "o_proj", "down_proj"),  # Llama, Mistral, Qwen, Gemma
)


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


def tensors(model: nn.Module) -> Iterator[Tensor]:
    """Everything that the model's weights take up: parameters, buffers, and what 4-bit ones are scaled by."""
    yield from model.parameters()
    yield from model.buffers()
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            yield from (t for t in vars(state).values() if isinstance(t, Tensor))
            state = state.state2  # with double quantisation the scales have scales


def layout(model: nn.Module) -> Layout:
    """The names of the model's layers; ValueError for a family that is not known here."""
    for known in LAYOUTS:
        if all(matching(model, t) for t in (*known.keys_values, known.attention_out, known.feed_forward_out)):
            return known
    raise ValueError(
        "expected the layers of BERT, GPT-2 or Llama, found "
        f"{', '.join(linear_names(model)) or 'no linear layer'}; use LoRA with targets=(…) of these names"
    )


def trunk(model: nn.Module) -> tuple[str, nn.Module]:
    """(name, module) of what lies below the output layer: embeddings and blocks."""
    name = "trunk" if "trunk" in dict(model.named_children()) else getattr(model, "base_model_prefix", "")
    if name not in dict(model.named_children()):
        raise ValueError(
            f"expected a model with a trunk below its output layer, found {type(model).__name__}"
        )
    return name, model.get_submodule(name)


def context(model: nn.Module) -> int:
    """The most positions that the model has."""
    return model.config.get_text_config().max_position_embeddings


def reads_features(model: nn.Module) -> bool:
    """Whether the model's head reads one vector per text, which `model.features` gives."""
    return callable(getattr(model, "features", None))


def checkpoints_activations(model: nn.Module) -> bool:
    """Whether a block would be computed again in the backward pass, without the cache it had before."""
    return any(getattr(m, "gradient_checkpointing", False) for m in model.modules())


def head(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the task's new output layer; empty for a language model: its output is pretrained."""
    layers = (m for name, m in model.named_modules() if name.rpartition(".")[2] in HEADS)
    return list(dict.fromkeys(p for layer in layers for p in layer.parameters()))


def output_layer(model: nn.Module) -> nn.Linear | None:
    """The plain linear layer that makes a language model's logits; None where there is no such layer."""
    find = getattr(model, "get_output_embeddings", None)
    layer = find() if find else None
    return layer if type(layer) is nn.Linear else None  # not one that a strategy has wrapped


def ends_with(model: nn.Module, layer: nn.Module) -> bool:
    """Whether what the layer gives is the model's logits: some models cap or scale them afterwards.

    Seen once per model, on two tokens, with a ramp of numbers in place of what the layer gives.
    """
    if model not in _SEEN:
        words, device = len(layer.weight), layer.weight.device
        ramp = torch.linspace(-1e3, 1e3, 2 * words, device=device, dtype=layer.weight.dtype).view(1, 2, words)
        hook = layer.register_forward_hook(lambda module, inputs, output: ramp)
        two = torch.zeros(1, 2, dtype=torch.long, device=device)
        try:
            with torch.no_grad(), torch.random.fork_rng():
                logits = model(input_ids=two, attention_mask=torch.ones_like(two)).logits
        finally:
            hook.remove()
        _SEEN[model] = torch.equal(logits.to(ramp.dtype), ramp)
    return _SEEN[model]


_SEEN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def before_output(model: nn.Module, layer: nn.Module, **inputs: Tensor) -> Tensor:
    """What the output layer would read, for every token: (batch, tokens, width)."""
    name = next(name for name, module in model.named_modules() if module is layer)
    put(model, name, nn.Identity())
    try:
        return model(**inputs).logits
    finally:
        put(model, name, layer)


def layer_groups(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """[(name, parameters)] from the input side to the output: embeddings, one entry per block, head.

    What follows the blocks and is pretrained (a decoder's last norm, an encoder's prediction layer) belongs
    to the top block under a new head; without one it is an entry of its own, "output".
    """
    blocks = max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len, default=None)
    if blocks is None:
        raise ValueError(f"expected a model with a list of blocks, found none in {type(model).__name__}")
    inside = [list(block.parameters()) for block in blocks]
    in_block = {id(p) for params in inside for p in params}
    output = head(model)
    in_head = {id(p) for p in output}
    everything = list(model.parameters())
    first, *_, last = (i for i, p in enumerate(everything) if id(p) in in_block)
    after = [p for p in everything[last:] if id(p) not in in_block | in_head]
    if output:
        inside[-1] += after
    named = [
        ("embeddings", everything[:first]),
        *((f"block {i}", params) for i, params in enumerate(inside)),
        *([("head", output)] if output else [("output", after)]),
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
