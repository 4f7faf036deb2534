"""The configurations of a run's own bundle: those that it ran from, with this run's values written in."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ulite_monai.errors import InputError

__all__ = ["load_configs", "run_configs"]

# Where, on what and how a run computes: no part of what it trained. These stay as the source bundle has them.
LOCAL = (
    *("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "device", "amp", "max_memory"),
    *("cache_half", "cache_rate", "num_workers", "resume", "overwrite", "init_weights", "budget", "run_bundle"),
    *("train#dataset#data", "validate#dataset#data"),
)
# What a run decides: by its data, where the configuration has an expression, and for its inference.
DECIDED = (
    *("labels", "label_values", "ignore_label", "flip_axes", "foreground_share"),
    *("roi_size", "grow_windows", "overlap", "straight_boundary"),
)
# What a training by time decides for itself, see `measured_budget`.
TIMED = ("hours", "reserve", "epochs", "steps_per_epoch", "val_interval", "val_cases")
DISTRIBUTED = "multi_gpu_train.json"


def load_configs(bundle_root: str | Path) -> dict[str, dict[str, Any]]:
    """The content of each `configs/*.json` of a bundle, by file name.

    Raises:
        InputError: When `train.json`, `inference.json` or `metadata.json` is missing, or one of them is no JSON.
    """
    folder = Path(bundle_root) / "configs"
    for name in ("train.json", "inference.json", "metadata.json"):
        if not (folder / name).is_file():
            raise InputError(f"{bundle_root}: holds no configs/{name}; give the bundle's folder, --bundle_root DIR.")
    try:
        return {file.name: ConfigParser.load_config_file(file) for file in sorted(folder.glob("*.json"))}
    except ValueError as error:
        raise InputError(f"{folder}: a configuration is not valid JSON ({error}).") from None


def run_configs(parser: ConfigParser, source: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a training that is being evaluated leaves as `train.json` and `inference.json`, and what it copies.

    Args:
        parser: of the training, with its overrides and overlays.
        source: the configurations of the bundle that it runs from, by file name.

    Returns:
        Configurations by file name; their values are plain but for what is local to a machine.
    """
    train = _as_written(dict(parser.get()))
    train.pop("_meta_", None)
    train |= {name: plain(parser.get_parsed_content(name)) for name in (*DECIDED, *TIMED) if name in train}
    own = source["train.json"]
    overlay = [name.removeprefix("+") for name in source.get(DISTRIBUTED, {})]
    for name in (*LOCAL, *(overlay if _is_applied(train, source.get(DISTRIBUTED, {})) else ())):
        _restore(train, own, name)
    inference = copy.deepcopy(source["inference.json"])
    inference.pop("heads", None)  # where a locator finds what another network segments isn't known
    for name in inference:
        agrees = name in own and own[name] == inference[name]
        if name in train and name not in LOCAL and (agrees or name in DECIDED):
            inference[name] = copy.deepcopy(train[name])
    written = {**source, "train.json": train, "inference.json": inference}
    if "evaluate.json" in source:
        evaluate = source["evaluate.json"]
        written["evaluate.json"] = {name: value for name, value in evaluate.items() if name not in DECIDED}
    return written


def _as_written(value: Any) -> Any:
    """A copy with `@train#dataset` as configurations have it; MONAI reads it as `@train::dataset`."""
    if isinstance(value, Mapping):
        return {name: _as_written(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(one) for one in value]
    if isinstance(value, str):
        return re.sub(r"@\w+(?:::\w+)+", lambda reference: reference[0].replace("::", "#"), value)
    return copy.deepcopy(value)


def plain(value: Any) -> Any:
    """A value of a configuration as JSON has it: tuples and arrays become lists, a NumPy number a number.

    Raises:
        TypeError: When it is no plain data.
    """
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str | int | float | bool | type(None)):
        return value
    raise TypeError(f"{value!r} can't be written as JSON.")


def _is_applied(train: Mapping[str, Any], overlay: Mapping[str, Any]) -> bool:
    return any(name in overlay and train.get(name) == overlay[name] for name in ("network", "device"))


def _restore(config: dict[str, Any], source: Mapping[str, Any], name: str) -> None:
    """Give `config` the value that `source` has at an id, or none where it has none."""
    *parents, last = name.replace("::", "#").split("#")
    for key in parents:
        config, source = config.get(key, {}), source.get(key, {})
    if last in source:
        config[last] = copy.deepcopy(source[last])
    else:
        config.pop(last, None)


def differing(former: Mapping[str, Any], now: Mapping[str, Any], but: Iterable[str] = ()) -> list[str]:
    """The ids of the first level that two configurations don't have alike."""
    return sorted(name for name in {*former, *now} - {*but} if former.get(name) != now.get(name))
