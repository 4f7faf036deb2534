"""A bundle's configurations from one template: what is equal in all bundles stands in `templates/`, once."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["compose", "shipped_configs"]

KINDS = {"hippocampus": "volumes", "nuclei": "images"}

GIVEN = "?"  # in a template: a value that the kind of data or the plan gives; without one the id is left out
PARTS = ("train.json", "inference.json", "evaluate.json")


def compose(kind: str, plan: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The configurations of a bundle, by file name.

    Args:
        kind: "volumes" or "images" (2D).
        plan: values of ids, by the file that they are for ("train.json", ...); an id of several levels joins them by
            `#`. What "train.json" says of an id holds for "inference.json" too, where that doesn't say it itself.

    Raises:
        KeyError: When a value is for an id that no template has.
    """
    of_kind = template(f"{kind}.json")
    configs = {}
    for name in PARTS:
        shared = {} if name == "train.json" else {**of_kind["train.json"], **plan.get("train.json", {})}
        values = {**shared, **of_kind.get(name, {}), **plan.get(name, {})}
        configs[name] = _filled(template(name), values, strict={**of_kind.get(name, {}), **plan.get(name, {})})
    return configs | {"multi_gpu_train.json": template("multi_gpu_train.json")}


def shipped_configs(name: str) -> dict[str, dict[str, Any]]:
    """The configurations of a shipped bundle, by file name.

    Args:
        name: "hippocampus" or "nuclei".
    """
    plan = json.loads((files("ulite_monai.planning") / "shipped" / f"{name}.json").read_text(encoding="utf-8"))
    return compose(KINDS[name], plan)


def template(name: str) -> dict[str, Any]:
    """The content of a file of `templates/`."""
    return json.loads((files("ulite_monai.planning") / "templates" / name).read_text(encoding="utf-8"))


def _filled(config: dict[str, Any], values: Mapping[str, Any], strict: Mapping[str, Any]) -> dict[str, Any]:
    """A template with values; those of `strict` must have a place there."""
    filled = copy.deepcopy(config)
    for name, value in values.items():
        *parents, last = name.split("#")
        place = filled
        for key in parents:
            place = place.get(key, {})
        if last in place or name == "straight_boundary":
            place[last] = copy.deepcopy(value)
        elif name in strict:
            raise KeyError(f"no template has the id {name}.")
    return _without_placeholders(filled)


def _without_placeholders(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_placeholders(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if value != GIVEN
    }
