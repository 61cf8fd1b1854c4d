"""to_peft, from_peft: what was trained here opens in PEFT, and an adapter that PEFT wrote opens here.

The files are PEFT's own: adapter_config.json and adapter_model.safetensors. LoRA (with rsLoRA and DoRA), IA3,
and for causal language models soft prompts and prefixes. PEFT itself is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .records import Tuned
from .strategies import IA3, LoRA, PrefixTuning, PromptTuning
from .strategies.before import key_shape
from .strategies.ia3 import rescaled
from .strategies.low_rank import pairs
from .strategies.prefix_tuning import Prefix
from .strategies.prompt_tuning import SoftPrompt
from .surgery import HEADS, head, in_out, is_linear, is_transposed, layout, matching, trunk

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INSIDE = "base_model.model."  # what PEFT writes before the name of a layer
UNREAD = ("rank_pattern", "alpha_pattern", "layer_replication", "alora_invocation_tokens", "lora_bias")


def to_peft(model: nn.Module, folder: str | Path, *, base: str = "") -> Path:
    """Write the adapter of a tuned model into a new folder; `base` is what PEFT shall call the base model.

    Raises ValueError for a strategy that PEFT has no file for, and for a folder that holds an adapter.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"expected a new or empty folder, found {folder} with something in it; name another")
    settings, values = _described(model)
    settings |= {"base_model_name_or_path": base, "inference_mode": True}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: v.detach().cpu().float().contiguous() for n, v in values.items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return folder


def from_peft(model: nn.Module, folder: str | Path) -> Tuned:
    """Apply the adapter in `folder` to a model that has none; its values are in the table, ready to train on.

    Raises ValueError that lists everything that does not fit; then the model is as it was.
    """
    folder = Path(folder)
    settings, values = _read(folder)
    kind = settings.get("peft_type")
    if kind not in READERS:
        raise ValueError(f"{folder}: expected an adapter out of {', '.join(READERS)}, found {kind}")
    strategy, expected = READERS[kind](model, settings, values)
    own = {name: layer for name, layer in model.named_parameters() if _in_head(name)}
    expected |= {INSIDE + name: p.shape for name, p in own.items() if INSIDE + name in values}
    faults = [f"it has {name}, which this model has no place for" for name in values if name not in expected]
    faults += [f"it lacks {name}" for name in expected if name not in values]
    faults += [
        f"{name} is {tuple(values[name].shape)} there and should be {tuple(shape)} here"
        for name, shape in expected.items()
        if name in values and values[name].shape != torch.Size(shape)
    ]
    faults += [f"its setting {name} is not known here" for name in UNREAD if settings.get(name)]
    if faults:
        shown = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise ValueError(f"{folder}: an adapter for another model: {shown}; load the base it was trained on")
    tuned = strategy.apply(model)
    with torch.no_grad():
        for name, parameter in (_described(model)[1] | {INSIDE + n: p for n, p in own.items()}).items():
            if name in values:
                parameter.copy_(values[name].to(parameter.device))
    return tuned


def _described(model: nn.Module) -> tuple[dict, dict[str, Tensor]]:
    """(settings, values) as PEFT's files hold them; the values are the parameters themselves or views."""
    low_rank, factors = pairs(model), rescaled(model)
    before = next((m for m in model.modules() if isinstance(m, (SoftPrompt, Prefix))), None)
    if before is not None:
        return _of_places(model, before)
    if low_rank:
        return _of_low_rank(model, low_rank)
    if factors:
        after = [n for n, m in factors.items() if not m.before]
        settings = {
            "peft_type": "IA3",
            "target_modules": list(factors),
            "feedforward_modules": [n for n, m in factors.items() if m.before],
            "fan_in_fan_out": any(is_transposed(m.base) for m in factors.values()),
        }
        values = {
            f"{INSIDE}{n}.ia3_l": m.factor[:, None] if n in after else m.factor[None]
            for n, m in factors.items()
        }
        return settings | _kind(model), values | _of_head(model)
    raise ValueError(
        f"expected LoRA, IA3, a soft prompt or a prefix, found none in {type(model).__name__}; what other "
        "strategies train PEFT has no file for: keep it by ftkit.checkpoint"
    )


def _of_low_rank(model: nn.Module, found: dict) -> tuple[dict, dict[str, Tensor]]:
    first = next(iter(found.values()))
    rank = first.a.shape[0]
    settings = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": first.alpha,
        "lora_dropout": first.dropout.p,
        "target_modules": list(found),
        "fan_in_fan_out": any(is_transposed(m.base) for m in found.values()),
        "use_rslora": rank > 1 and abs(first.scale - first.alpha / rank**0.5) < 1e-12,
        "use_dora": first.length is not None,
        "bias": "none",
    }
    values = {f"{INSIDE}{n}.lora_A.weight": m.a for n, m in found.items()}
    values |= {f"{INSIDE}{n}.lora_B.weight": m.b for n, m in found.items()}
    lengths = {n: m.length for n, m in found.items() if m.length is not None}
    values |= {f"{INSIDE}{n}.lora_magnitude_vector": length for n, length in lengths.items()}
    return settings | _kind(model), values | _of_head(model)


def _of_places(model: nn.Module, module: SoftPrompt | Prefix) -> tuple[dict, dict[str, Tensor]]:
    if head(model) or not hasattr(model, "generate"):
        raise ValueError(
            f"expected a causal language model under prompt or prefix, found {type(model).__name__}: PEFT "
            "reads a classifier's prompt out at other places; keep it by ftkit.checkpoint"
        )
    if isinstance(module, SoftPrompt):
        kind, vectors = "PROMPT_TUNING", module.prompt
        heads, layers = module.config.num_attention_heads, module.config.num_hidden_layers
        width = vectors.shape[1]
    else:
        kind, (_, layers, _, heads, per_head) = "PREFIX_TUNING", module.shape
        vectors, width = module.transform(module.vectors), heads * per_head  # an MLP is folded away
    settings = {
        "peft_type": kind,
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": len(vectors),
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": heads,
        "num_layers": layers,
    }
    return settings, {"prompt_embeddings": vectors}


def _kind(model: nn.Module) -> dict:
    heads = [name for name, _ in model.named_children() if name in HEADS]
    return {"task_type": None, "modules_to_save": heads or None}


def _of_head(model: nn.Module) -> dict[str, Tensor]:
    return {INSIDE + name: p for name, p in model.named_parameters() if _in_head(name)}


def _in_head(name: str) -> bool:
    return name.split(".")[0] in HEADS


def _read(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder}: expected an adapter, found no {' and no '.join(missing)}; save it by to_peft, or by "
            "PEFT's save_pretrained (safetensors only)"
        )
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")), load_file(folder / WEIGHTS)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{folder}: the adapter cannot be read ({error}); save it again") from None


def _read_lora(model: nn.Module, settings: dict, values: dict) -> tuple[LoRA, dict]:
    ends = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")
    names = dict.fromkeys(_stem(key, end) for key in values for end in ends if key.endswith(end))
    rank, dora = settings["r"], bool(settings.get("use_dora"))
    expected = {}
    for name, (inputs, outputs) in _linear(model, names).items():
        shapes = {ends[0]: (rank, inputs), ends[1]: (outputs, rank)} | ({ends[2]: (outputs,)} if dora else {})
        expected |= {f"{INSIDE}{name}{end}": shape for end, shape in shapes.items()}
    options = {"dropout": settings.get("lora_dropout", 0.0), "rslora": bool(settings.get("use_rslora"))}
    return LoRA(rank, float(settings["lora_alpha"]), targets=tuple(names), dora=dora, **options), expected


def _read_ia3(model: nn.Module, settings: dict, values: dict) -> tuple[IA3, dict]:
    names = layout(model)
    before = matching(model, names.feed_forward_out)
    after = [n for target in names.keys_values for n in matching(model, target)]
    expected = {f"{INSIDE}{n}.ia3_l": (1, in_out(model.get_submodule(n))[0]) for n in before}
    expected |= {f"{INSIDE}{n}.ia3_l": (in_out(model.get_submodule(n))[1], 1) for n in after}
    return IA3(), expected


def _read_prompt(model: nn.Module, settings: dict, values: dict) -> tuple[PromptTuning, dict]:
    length, width = settings["num_virtual_tokens"], trunk(model)[1].get_input_embeddings().weight.shape[1]
    return PromptTuning(length, start="random"), {"prompt_embeddings": (length, width)}


def _read_prefix(model: nn.Module, settings: dict, values: dict) -> tuple[PrefixTuning, dict]:
    length = settings["num_virtual_tokens"]
    layers, heads, width = key_shape(model.config)
    numbers = 2 * layers * heads * width
    return PrefixTuning(length), {"prompt_embeddings": (length, numbers)}


def _linear(model: nn.Module, names) -> dict[str, tuple[int, int]]:
    modules = dict(model.named_modules())
    return {n: in_out(modules[n]) for n in names if n in modules and is_linear(modules[n])}


def _stem(key: str, end: str) -> str:
    return key.removeprefix(INSIDE).removesuffix(end)


READERS = {"LORA": _read_lora, "IA3": _read_ia3, "PROMPT_TUNING": _read_prompt, "PREFIX_TUNING": _read_prefix}
