"""A planned bundle: all but the weights, written from a data set."""

from __future__ import annotations

import copy
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from ulite_monai import __version__
from ulite_monai.bundles import find_bundle
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.planning.compose import compose, template
from ulite_monai.planning.fingerprint import fingerprint
from ulite_monai.planning.json_text import write_json
from ulite_monai.planning.plan import Machine, Plan, make_plan
from ulite_monai.planning.ranges import training_ranges
from ulite_monai.planning.run_metadata import run_metadata
from ulite_monai.training.settings import require_settings

__all__ = ["plan_bundle", "training_command"]


def plan_bundle(
    dataset: str | Path,
    folder: str | Path,
    dims: str = "auto",
    group: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    hours: float = 1.0,
) -> Plan:
    """Look at a labelled data set, plan a training, and write its bundle, which lacks nothing but weights.

    Args:
        dataset: as `read_labelled_set` takes it.
        folder: gets `configs/`, `LICENSE`, `docs/README.md`, `docs/fingerprint.json`, `docs/plan.json`.
        dims: "auto", "2" or "3"; see `make_plan`.
        group: pattern of the cases that belong together; see `read_labelled_set`.
        overrides: values by id, as `a` or `a#b#0`; the plan follows them where one is its own.
        hours: that a training is given.

    Raises:
        InputError: When the data set can't be read, `folder` holds another bundle, or an override is none.
    """
    folder, given = Path(folder), dict(overrides or {})
    _require_free(folder, Path(dataset))
    if dims not in ("auto", "2", "3"):
        raise InputError(f"--dims must be auto, 2 or 3, got {dims!r}.")
    cases = read_labelled_set(dataset, group)
    with Progress(transient=True) as progress:
        bar = progress.add_task("looking at the cases", total=len(cases.items))
        seen = fingerprint(cases, lambda done, total: progress.update(bar, completed=done, total=total))
    if dims == "3" and seen["kind"] == "images":
        raise InputError(f"{dataset}: holds 2D images; --dims 3 is for volumes.")
    axes = len(seen["cases"][0]["shape"])
    sizes: dict[str, Any] = {name: given[name] for name in ("spacing", "patch_size") if name in given}
    counts: dict[str, Any] = {name: given[name] for name in ("batch_size", "epochs", "val_interval") if name in given}
    require_settings(axes, sizes, counts, given.get("flip_axes", []))
    plan = make_plan(seen, Machine.present(hours), dims, given)
    values = {"label_values": None if cases.instances else cases.values}
    plan.values["train.json"] |= {**values, "ignore_label": cases.ignore, "group": group}
    plan.values["inference.json"] |= values
    configs = _overridden(plan, given)
    source = find_bundle({"volumes": "hippocampus", "images": "nuclei"}[plan.kind])
    for name, content in {**configs, "metadata.json": _metadata(source, plan, seen, cases.items)}.items():
        write_json(folder / "configs" / name, content)
    for name in ("configs/logging.conf", "LICENSE"):
        shutil.copyfile(source / name, folder / name)
    write_json(folder / "docs" / "fingerprint.json", seen)
    told = [{name: getattr(one, name) for name in ("what", "value", "reason", "source")} for one in plan.choices]
    write_json(folder / "docs" / "plan.json", {"choices": told})
    with atomic_path(folder / "docs" / "README.md") as temporary:
        temporary.write_text(_card(plan, dataset), encoding="utf-8")
    return plan


def training_command(dataset: str | Path, folder: str | Path) -> str:
    """How to train a planned bundle, for a shell."""
    return shlex.join(["ulite", "train", str(dataset), "-o", str(folder)])


def _require_free(folder: Path, dataset: Path) -> None:
    """A plan that nothing was trained by may be replaced."""
    if folder.resolve() == dataset.resolve():
        raise InputError(f"{folder}: is the data set; give another folder for the bundle.")
    planned = (folder / "docs" / "plan.json").is_file() and not any((folder / "models").glob("*"))
    if any((folder / "configs").glob("*.json")) and not planned:
        raise InputError(f"{folder}: holds a bundle already; give another folder.")


def _overridden(plan: Plan, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The configurations with what was given, in each that has the id with the same value."""
    values = {file: dict(content) for file, content in plan.values.items()}
    known = {file: template(file) for file in values}
    for name, value in given.items():
        top = name.split("#")[0]
        if top not in known["train.json"]:
            raise InputError(f"--set {name}: train.json has no such id; docs/train.md lists the ids.")
        if name == top:
            for file, content in values.items():
                if file == "train.json" or name in content or known[file].get(name) == known["train.json"][name]:
                    content |= {name: value} if name in known[file] else {}
    configs = compose(plan.kind, values)
    for name, value in given.items():
        *path, last = name.split("#")
        own = copy.deepcopy(configs["train.json"].get(path[0])) if path else None
        for config in (configs["train.json"], configs["inference.json"]) if path else ():
            if config is configs["train.json"] or config.get(path[0]) == own:
                _put(config, path, last, value, name)
    return configs


def _put(config: dict[str, Any], path: Sequence[str], last: str, value: Any, name: str) -> None:
    inner: Any = config
    try:
        for key in path:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[int(last) if isinstance(inner, list) else last] = value
    except (KeyError, IndexError, ValueError, TypeError):
        raise InputError(f"--set {name}: there is no such id in train.json.") from None


def _metadata(source: Path, plan: Plan, seen: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    train = plan.values["train.json"]
    shipped = json.loads((source / "configs" / "metadata.json").read_text(encoding="utf-8"))
    ranges = training_ranges(items) if plan.kind == "volumes" else {}
    if plan.kind == "volumes" and seen["modality"]:
        ranges = {"modality": [seen["modality"]]} | ranges
    count = f"{len(items)} cases, planned for and not trained on yet"
    return run_metadata(shipped, train["labels"], train["in_channels"], count, ranges, train["label_values"]) | {
        "changelog": {__version__: "planned; not trained yet"},
        "description": "U-Lite, planned for its user's data. For research use only, not for diagnosis.",
    }


def _card(plan: Plan, dataset: str | Path) -> str:
    rows = [f"| {one.what} | {one.value} | {one.reason} | {one.source} |" for one in plan.choices]
    return (
        "\n\n".join(
            [
                f"# U-Lite: {', '.join(plan.values['train.json']['labels'])}",
                "A plan: nothing is trained yet. For research use only. The output is not for diagnosis or treatment.",
                "## Plan",
                "\n".join(["| | | reason | source |", "|---|---|---|---|", *rows]),
                "Every value stands in `configs/train.json`. `docs/fingerprint.json` is what was found in the data.",
                "## Train",
                f"```bash\n{training_command(Path(dataset).name, 'THIS_FOLDER')}\n```",
            ]
        )
        + "\n"
    )
