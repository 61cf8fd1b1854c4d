"""to_peft, from_peft: what was trained here opens in PEFT, and an adapter that PEFT wrote opens here.

The files are PEFT's own: adapter_config.json and adapter_model.safetensors. LoRA (with rsLoRA and DoRA), IA3,
soft prompts before language models, and prefixes of causal ones. PEFT itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .families import HEADS, family
from .records import Tuned
from .strategies import IA3, LoRA, PrefixTuning, PromptTuning, ia3, low_rank, prefix_tuning, prompt_tuning
from .strategies.attention import key_shape
from .strategies.ia3 import rescaled
from .strategies.low_rank import pairs
from .strategies.prefix_tuning import Prefix
from .strategies.soft_prompt import SoftPrompt
from .surgery import head_names, is_transposed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INSIDE = "base_model.model."  # what PEFT writes before a model's own names
UNREAD = ("rank_pattern", "alpha_pattern", "layer_replication", "alora_invocation_tokens", "lora_bias")


@dataclass(frozen=True)
class Kind:
    """One kind of adapter, as it stands in PEFT's files and in our models."""

    settings: Callable  # model -> what PEFT's configuration says; None where the model has no such adapter
    values: Callable  # model -> {PEFT's name: the parameter, or a view of it}
    strategy: Callable  # (settings, the model's layers that the file names) -> what puts such an adapter in
    remove: Callable  # takes it off again


def to_peft(model: nn.Module, folder: str | Path, *, base: str = "") -> Path:
    """Write the adapter of a tuned model into a new folder; `base` is what PEFT shall call the base model.

    Raises ValueError for a strategy that PEFT has no file for, and for a folder that holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"expected a new or empty folder, got {folder} with something in it; name another")
    described = {name: settings for name, kind in KINDS.items() if (settings := kind.settings(model))}
    if not described:
        raise ValueError(
            f"expected LoRA, IA3, a soft prompt or a prefix, got none in {type(model).__name__}; PEFT has no "
            "file for what other strategies train: keep it by ftkit.checkpoint"
        )
    name, settings = next(iter(described.items()))
    settings |= {"peft_type": name, "base_model_name_or_path": base, "inference_mode": True}
    values = {n: v.detach().cpu().float().contiguous() for n, v in _values(model, KINDS[name]).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(values, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return folder


def from_peft(model: nn.Module, folder: str | Path) -> Tuned:
    """Apply the adapter in `folder` to a model that has none; its values are in the table, ready to train on.

    Raises ValueError that lists everything that does not fit; then the model is as it was.
    """
    folder = Path(folder)
    settings, values = _read(folder)
    if settings.get("peft_type") not in KINDS:
        kinds = ", ".join(KINDS)
        raise ValueError(f"{folder}: expected an adapter out of {kinds}, got {settings.get('peft_type')}")
    kind = KINDS[settings["peft_type"]]
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    modules = {name for name, _ in model.named_modules()}
    layers = dict.fromkeys(
        n.removeprefix(INSIDE).partition(".lora_")[0].removesuffix(".ia3_l") for n in values
    )
    strategy = kind.strategy(settings, tuple(name for name in layers if name in modules))
    tuned = strategy.apply(model) if strategy else None
    own = _values(model, kind) if strategy else {}
    faults = _faults(values, own, optional={INSIDE + name for name in head_names(model)})
    faults += [f"its setting {name} is not known here" for name in UNREAD if settings.get(name)]
    if faults:
        kind.remove(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name])
        shown = "; ".join(faults[:6]) + (f"; and {len(faults) - 6} more" if len(faults) > 6 else "")
        raise ValueError(f"{folder}: an adapter for another model: {shown}; load the base it was trained on")
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)
    return tuned


def _values(model: nn.Module, kind: Kind) -> dict[str, Tensor]:
    """What the files hold by PEFT's names: the adapter and the layers that are new for the task."""
    named, heads = dict(model.named_parameters()), head_names(model)
    return kind.values(model) | {INSIDE + name: named[name] for name in heads}


def _faults(values: dict[str, Tensor], own: dict[str, Tensor], *, optional: set[str]) -> list[str]:
    faults = [f"it has {name}, which this model has no place for" for name in values if name not in own]
    faults += [f"it lacks {name}" for name in own if name not in values and name not in optional]
    return faults + [
        f"{name} is {tuple(values[name].shape)} there and should be {tuple(own[name].shape)} here"
        for name in own
        if name in values and values[name].shape != own[name].shape
    ]


def _read(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder}: expected an adapter, got no {' and no '.join(missing)}; save it by to_peft, or by "
            "PEFT's save_pretrained (safetensors only)"
        )
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")), load_file(folder / WEIGHTS)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{folder}: the adapter cannot be read ({error}); save it again") from None


def _heads(model: nn.Module) -> dict:
    heads = [name for name, _ in model.named_children() if name in HEADS]
    return {"task_type": None, "modules_to_save": heads or None}


def _lora_settings(model: nn.Module) -> dict | None:
    layers = pairs(model)
    if not layers:
        return None
    first = next(iter(layers.values()))
    rank = first.a.shape[0]
    return _heads(model) | {
        "r": rank,
        "lora_alpha": first.alpha,
        "lora_dropout": first.dropout.p,
        "target_modules": list(layers),
        "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        "use_rslora": rank > 1 and abs(first.scale - first.alpha / rank**0.5) < 1e-12,
        "use_dora": first.length is not None,
        "bias": "none",
    }


def _lora_values(model: nn.Module) -> dict[str, Tensor]:
    layers = {INSIDE + name: layer for name, layer in pairs(model).items()}
    values = {f"{name}.lora_A.weight": layer.a for name, layer in layers.items()}
    values |= {f"{name}.lora_B.weight": layer.b for name, layer in layers.items()}
    lengths = {name: layer.length for name, layer in layers.items() if layer.length is not None}
    return values | {f"{name}.lora_magnitude_vector": length for name, length in lengths.items()}


def _lora(settings: dict, layers: tuple[str, ...]) -> LoRA | None:
    dropout, dora = settings.get("lora_dropout", 0.0), bool(settings.get("use_dora"))
    kind = {"dropout": dropout, "rslora": bool(settings.get("use_rslora")), "dora": dora}
    return LoRA(settings["r"], float(settings["lora_alpha"]), targets=layers, **kind) if layers else None


def _ia3_settings(model: nn.Module) -> dict | None:
    layers = rescaled(model)
    settings = {
        "target_modules": list(layers),
        "feedforward_modules": [name for name, layer in layers.items() if layer.before],
        "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
    }
    return _heads(model) | settings if layers else None


def _ia3_values(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{INSIDE}{name}.ia3_l": layer.factor[None] if layer.before else layer.factor[:, None]
        for name, layer in rescaled(model).items()
    }


def _before(model: nn.Module, kind: type) -> nn.Module | None:
    return next((module for module in model.modules() if isinstance(module, kind)), None)


def _places_settings(model: nn.Module, kind: type) -> dict | None:
    module, known = _before(model, kind), family(model)
    if module is None:
        return None
    apart = kind is Prefix and (known.encoder_decoder or known.name == "BLOOM")  # there PEFT's is another sum
    if apart or head_names(model) or not (known.decoder or known.encoder_decoder):
        raise ValueError(
            f"expected a causal language model under prompt or prefix, got {type(model).__name__} "
            f"({known.name}), where PEFT computes something else; keep it by ftkit.checkpoint"
        )
    heads, width = key_shape(model.config)
    config = model.config.get_text_config()
    return {
        "task_type": "SEQ_2_SEQ_LM" if known.encoder_decoder else "CAUSAL_LM",
        "num_virtual_tokens": len(module.prompt if kind is SoftPrompt else module.vectors),
        "token_dim": module.prompt.shape[1] if kind is SoftPrompt else heads * width,
        "num_transformer_submodules": 1,
        "num_attention_heads": config.num_attention_heads if kind is SoftPrompt else heads,
        "num_layers": config.num_hidden_layers,
    }


def _prompt_values(model: nn.Module) -> dict[str, Tensor]:
    return {"prompt_embeddings": _before(model, SoftPrompt).prompt}


def _prefix_values(model: nn.Module) -> dict[str, Tensor]:
    prefix = _before(model, Prefix)
    return {"prompt_embeddings": prefix.transform(prefix.vectors)}  # an MLP is folded away


KINDS = {
    "LORA": Kind(_lora_settings, _lora_values, _lora, low_rank.remove),
    "IA3": Kind(_ia3_settings, _ia3_values, lambda settings, layers: IA3(), ia3.remove),
    "PROMPT_TUNING": Kind(
        lambda model: _places_settings(model, SoftPrompt),
        _prompt_values,
        lambda settings, layers: PromptTuning(settings["num_virtual_tokens"], start="random"),
        prompt_tuning.remove,
    ),
    "PREFIX_TUNING": Kind(
        lambda model: _places_settings(model, Prefix),
        _prefix_values,
        lambda settings, layers: PrefixTuning(settings["num_virtual_tokens"]),
        prefix_tuning.remove,
    ),
}
