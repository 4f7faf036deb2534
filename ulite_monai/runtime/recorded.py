"""What a training recorded beside its weights, so that nobody has to repeat it to use them."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.errors import InputError
from ulite_monai.io.class_names import same_names
from ulite_monai.runtime.weights import checkpoint_files

__all__ = ["INFERENCE_IDS", "network_options", "recorded_labels", "recorded_settings", "require_as_trained"]

logger = logging.getLogger(__name__)

INFERENCE_IDS = (
    *("labels", "in_channels", "spacing", "resample_tilt", "skip_empty", "skip_empty_margin", "flip_axes"),
    *("roi_size", "grow_windows"),
)


def network_options(arguments: Sequence[str]) -> list[str]:
    """What a command line says of `network_def` and of what lies below it, as it says it.

    Args:
        arguments: of a `python -m monai.bundle run`.
    """
    found: list[str] = []
    for number, argument in enumerate(arguments):
        if re.match(r"--network_def(#|::|=|$)", argument):
            found += [argument] if "=" in argument else arguments[number : number + 2]
    return found


def recorded_settings(ckpt: str | Path) -> dict[str, Any]:
    """Of the `run.json` beside weights: the ids that inference needs, and the options of the network.

    Args:
        ckpt: the weights of a training.

    Returns:
        Values by id, such as `labels` or `network_def#features`: plain data alone, never an expression that a
        configuration would evaluate. Empty where there is no record.
    """
    try:
        run = json.loads((Path(ckpt).parent / "run.json").read_text(encoding="utf-8-sig"))
        settings: Mapping[str, Any] = run["settings"]
        found = {name: settings[name] for name in INFERENCE_IDS if name in settings}
        found |= _of_network(run["command"])
        if "network_def" not in settings and "network_def#features" in found:
            found.setdefault("network_def#strides", 2)  # the default, when the structure wasn't recorded yet
        structure = dict(settings.get("network_def", {}))  # written out, for defaults change
        found |= {f"network_def#{name}": value for name, value in structure.items()}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {name: value for name, value in found.items() if _is_plain(value)}


def recorded_labels(ckpt: str | Path, own: Sequence[str]) -> list[str]:
    """Names of the classes that weights were trained for: those in their record, else the bundle's.

    Args:
        ckpt: the weights, or a pattern.
        own: the bundle's names.
    """
    return list(recorded_settings(checkpoint_files(ckpt)[0]).get("labels", own))


def require_as_trained(ckpt: str | Path, given: Mapping[str, Any]) -> None:
    """Check that weights are used as they were trained, as far as the `run.json` beside them says how.

    Other values than the names of the classes may be meant: they are a warning.

    Args:
        ckpt: the weights, or a pattern.
        given: values by id.

    Raises:
        InputError: When the classes have other names. It names both.
    """
    for file in checkpoint_files(ckpt):
        recorded = recorded_settings(file)
        if "labels" in given and "labels" in recorded and not same_names(recorded["labels"], given["labels"]):
            raise InputError(
                f"{file}: was trained for the labels {recorded['labels']}, as run.json beside it says, and labels are "
                f'{list(given["labels"])} here; give --labels "{recorded["labels"]}", or another --ckpt.'
            )
        for name in given.keys() & recorded.keys() - {"labels"}:
            if _as_lists(given[name]) != _as_lists(recorded[name]):
                logger.warning(
                    "warning: %s: was trained with %s %s, here it is %s.", file, name, recorded[name], given[name]
                )


def _as_lists(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else str(value)


def _of_network(command: list[str]) -> dict[str, Any]:
    words = iter(network_options(command))
    found = {}
    for word in words:
        name, mark, value = word.removeprefix("--").partition("=")
        value = value if mark else next(words, "")
        try:
            found[name.replace("::", "#")] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            found[name.replace("::", "#")] = value
    return {name: value for name, value in found.items() if name.startswith("network_def#")}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    if isinstance(value, str):
        return not value.startswith(("$", "@", "%"))
    return isinstance(value, bool | int | float | None)
