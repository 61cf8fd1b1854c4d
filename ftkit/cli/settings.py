"""Settings: all that decides a run; options, run.json and the model card are made from this record."""

from __future__ import annotations

import argparse
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path

from ..records import TrainConfig, setting

RECORD, CHECKPOINTS = "run.json", "checkpoints"
FILES = ("data", "validation", "test")


@dataclass(frozen=True)
class Settings:
    """What was asked of a run, and what was learned from its data."""

    data: str = setting("", "CSV, TSV, JSONL or Parquet file to train on")
    text: str = setting("", "name of the column with the texts")
    label: str = setting("", "name of the column with the labels")
    validation: str | None = setting(None, "file to choose the best model on; a tenth of --data without it")
    test: str | None = setting(None, "file to test on, once; a tenth of --data without it")
    model: str = setting("encoder", "encoder or decoder of the scale, a hub id, or a folder")
    max_tokens: int | None = setting(None, "longer texts are shortened; the scale's number without it")
    strategy: str = setting("lora", "full, lora, head_only, adapters, ia3, …")
    options: dict = field(default_factory=dict)  # of the strategy
    train: TrainConfig = field(default_factory=TrainConfig)
    labels: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)  # SHA-256 of the data files

    def recipe(self):
        """The strategy's record. Raises ValueError for an unknown strategy, or a value that it refuses."""
        return strategy_named(self.strategy)(**self.options)


def strategy_named(name: str) -> type:
    """The strategy's class; ValueError lists the names that there are."""
    from ..strategies import STRATEGIES

    if name not in STRATEGIES:
        raise ValueError(f"expected a strategy out of {', '.join(STRATEGIES)}, got {name!r}")
    return STRATEGIES[name]


def add_options(parser: argparse.ArgumentParser, *, names: tuple[str, ...] | None = None) -> None:
    """An option for each setting, those of training and of the strategies too; or for those of `names` alone.

    Options that were not given are absent from the namespace, so that 0 and "not given" are two things.
    """
    for record in (Settings, TrainConfig):
        for one in fields(record):
            if "help" in one.metadata and (names is None or one.name in names):
                _add(parser, one.name, record, one, help=_with_default(one, record))
    if names is None:
        group = parser.add_argument_group("options of the strategies")
        for option, users in strategy_options().items():
            record, one = users[next(iter(users))]
            defaults = ", ".join(f"{name} {_default(f)}" for name, (_, f) in users.items())
            _add(group, option, record, one, help=f"default: {defaults}")


def strategy_options() -> dict[str, dict[str, tuple[type, Field]]]:
    """{option: {strategy: (its record, its field)}}.

    What training has too, or another strategy with another type, is named with its strategy.
    """
    from ..strategies import STRATEGIES

    taken = {one.name for record in (Settings, TrainConfig) for one in fields(record)}
    types_of: dict[str, set[str]] = {}
    for record in STRATEGIES.values():
        for one in fields(record):
            types_of.setdefault(one.name, set()).add(str(one.type))
    taken |= {name for name, kinds in types_of.items() if len(kinds) > 1}
    options: dict[str, dict[str, tuple[type, Field]]] = {}
    for name, record in STRATEGIES.items():
        for one in fields(record):
            option = f"{name}_{one.name}" if one.name in taken else one.name
            options.setdefault(option, {})[name] = (record, one)
    return options


def asked(given: argparse.Namespace) -> dict:
    """The settings that were given, by name; names of files and of a model's folder made absolute.

    Absolute rather than relative to the run folder: a run folder is moved more often than what it was made
    from, and `ftkit predict` works in any working directory.
    """
    known = {one.name for record in (Settings, TrainConfig) for one in fields(record)} | set(
        strategy_options()
    )
    values = {name: value for name, value in vars(given).items() if name in known}
    places = [name for name in FILES if name in values]
    if "model" in values and _is_folder(values["model"]):
        places.append("model")
    return values | {name: str(Path(values[name]).resolve()) for name in places}


def _is_folder(model: str) -> bool:
    """Whether a model's name is that of a folder, rather than a scale's, the course's or the hub's."""
    from ..models import repository

    return repository(model) == model and Path(model).is_dir()


def settings(values: dict) -> Settings:
    """The settings of a new run. Raises ValueError for an option that belongs to other strategies."""
    from ..strategies import USUAL_LR

    name = values.get("strategy", Settings.strategy)
    strategy_named(name)
    options = {}
    for option, users in strategy_options().items():
        if option not in values:
            continue
        if name not in users:
            raise ValueError(
                f"--{option.replace('_', '-')} is for {', '.join(users)}, not for {name}; leave it out"
            )
        options[users[name][1].name] = values[option]
    own = {one.name for one in fields(Settings)}
    train = {one.name: values[one.name] for one in fields(TrainConfig) if one.name in values}
    return Settings(
        **{key: value for key, value in values.items() if key in own},
        options=asdict(strategy_named(name)(**options)),  # all, so that a later default changes no old run
        train=TrainConfig(**{"lr": USUAL_LR[name]} | train),
    )


def load(folder: Path) -> Settings:
    """The settings of a run folder; a setting that is newer than the folder has its default."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a run folder; make one with ftkit finetune --out {folder}")
    if not (folder / RECORD).is_file():
        raise ValueError(
            f"{folder}: expected {RECORD} in the run folder, which is not there; is it another folder?"
        )
    try:
        saved = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        values = {"train": {}} | _read(Settings, saved)
        chosen = Settings(**values | {"train": TrainConfig(**_read(TrainConfig, values["train"]))})
        return replace(chosen, options=_read(strategy_named(chosen.strategy), chosen.options))
    except ValueError as error:
        raise ValueError(f"{folder / RECORD}: not readable ({error}); restore it or train again") from None


def _read(record: type, saved: object) -> dict:
    """Fields of a record as JSON has them. Raises ValueError that lists unknown ones and wrong types."""
    if not isinstance(saved, dict):
        raise ValueError(f"expected an object with settings, got {saved!r}")
    hints = typing.get_type_hints(record)
    faults = [f"unknown setting {name}" for name in saved if name not in hints]
    for name in hints.keys() & saved.keys():
        if not _fits(saved[name], hints[name]):
            faults.append(f"{name} cannot be {saved[name]!r}")
    if faults:
        raise ValueError("; ".join(sorted(faults)))
    return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}


def _fits(value: object, hint) -> bool:
    """Whether a value from JSON can stand in a field of this type."""
    if isinstance(hint, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if kind is tuple:
        return isinstance(value, list) and all(_fits(one, typing.get_args(hint)[0]) for one in value)
    if kind is dict or hint is TrainConfig:
        return isinstance(value, dict)
    if kind is bool or not isinstance(value, bool):
        return isinstance(value, (int, float) if kind is float else kind)
    return False


def store(settings: Settings, folder: Path) -> None:
    """Write run.json into a folder that has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / RECORD, "x", encoding="utf-8") as file:
        json.dump(asdict(settings), file, indent=1, ensure_ascii=False)


def differences(saved: Settings, values: dict) -> Iterator[str]:
    """What was given now and is otherwise in the saved run."""
    flat, options = asdict(saved) | asdict(saved.train), strategy_options()
    for name, value in values.items():
        if name not in options:
            kept = flat[name]
        elif saved.strategy in options[name]:
            kept = saved.options.get(options[name][saved.strategy][1].name)
        else:
            yield f"{saved.strategy}, which has no {name}"
            continue
        if kept != value:
            yield f"{name} {kept!r}, not {value!r}"


def _add(parser, option: str, record: type, one: Field, *, help: str) -> None:
    kind = _type(record, one)
    name = f"--{option.replace('_', '-')}"
    if kind is bool:
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help)
        return
    parser.add_argument(name, dest=option, type=kind, default=argparse.SUPPRESS, help=help)


def _type(record: type, one: Field):
    """What turns an option's text into its value."""
    hint = typing.get_type_hints(record)[one.name]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(one for one in kinds if one is not type(None))
    if typing.get_origin(kind) is tuple:
        return lambda text: tuple(part.strip() for part in text.split(",") if part.strip())
    if type(None) not in kinds or kind is str:
        return kind

    def number_or_none(text: str):
        return None if text.lower() == "none" else kind(text)

    return number_or_none


def _default(one: Field):
    return one.default if one.default is not MISSING else "none"


def _with_default(one: Field, record: type) -> str:
    if one.name == "lr":
        return f"{one.metadata['help']}; by default what is usual for the strategy"
    return one.metadata["help"] + ("" if one.default in (None, "") else f"; {one.default} by default")
