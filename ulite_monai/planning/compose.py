"""A bundle's configurations from one template: what is equal in all bundles stands in `templates/`, once."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

__all__ = ["compose", "shipped_configs"]

KINDS = {"hippocampus": "volumes", "nuclei": "images", "head_locator": "label_maps"}

GIVEN = "?"  # in a template: a value that the kind of data or the plan gives; without one the id is left out
PARTS = ("train.json", "inference.json", "evaluate.json")


def compose(kind: str, plan: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The configurations of a bundle, by file name.

    Args:
        kind: "volumes", "images" (2D), or "label_maps" (of heads, which images are made from).
        plan: values of ids, by the file that they are for ("train.json", ...). What "train.json" says of an id holds
            for the others too, where they ask for it and say nothing themselves.

    Raises:
        KeyError: When a value is for an id that no template has.
    """
    of_kind = template(f"{kind}.json")
    configs = {}
    for name in of_kind:
        shared = {} if name == "train.json" else {**of_kind["train.json"], **plan.get("train.json", {})}
        own = {**of_kind.get(name, {}), **plan.get(name, {})}
        configs[name] = _filled(template(name), shared, own)
    if tuple(of_kind) == PARTS:
        configs["multi_gpu_train.json"] = template("multi_gpu_train.json")
    return configs


def shipped_configs(name: str) -> dict[str, dict[str, Any]]:
    """The configurations of a shipped bundle, by file name.

    Args:
        name: "hippocampus", "nuclei" or "head_locator".
    """
    plan = json.loads((files("ulite_monai.planning") / "shipped" / f"{name}.json").read_text(encoding="utf-8"))
    locator = plan.pop("locator.json", None)
    configs = compose(KINDS[name], plan)
    if locator is not None:
        configs["locator.json"] = shipped_configs("head_locator")["inference.json"] | locator
    return configs


def template(name: str) -> dict[str, Any]:
    """The content of a file of `templates/`."""
    return json.loads((files("ulite_monai.planning") / "templates" / name).read_text(encoding="utf-8"))


def _filled(config: Mapping[str, Any], shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A template with `own` values, and where it asks for one, those of `shared`; what nobody gives is left out.

    An own value for `train#dataset#data` stands at that place in the template's `train`.
    """
    values = {name: shared[name] for name, value in config.items() if value == GIVEN and name in shared} | dict(own)
    unknown = {name for name in values if name.partition("#")[0] not in config}
    if unknown:
        raise KeyError(f"no template has the ids {sorted(unknown)}.")
    filled = copy.deepcopy(dict(config) | {name: value for name, value in values.items() if "#" not in name})
    for name in values.keys() - filled.keys():
        *parents, last = name.split("#")
        functools.reduce(lambda place, parent: place[parent], parents, filled)[last] = values[name]
    return {name: value for name, value in filled.items() if value != GIVEN}
