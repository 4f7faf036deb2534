"""The record of a run: what was trained on what, by which versions, and the commands to go on with."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.io.atomic import atomic_path
from ulite_monai.runtime.recorded import INFERENCE_IDS, network_options
from ulite_monai.runtime.versions import versions

__all__ = ["case_digest", "plain", "print_next_steps", "record_run"]

logger = logging.getLogger(__name__)

SPLIT_IDS = ("fold", "num_folds", "seed")


def case_digest(train_items: Sequence[Mapping[str, Any]], validation_items: Sequence[Mapping[str, Any]]) -> str:
    """How many cases train and validate, and eight digits that depend on which they are.

    Args:
        train_items: data list of the training part.
        validation_items: data list of the validation part.
    """
    names = [sorted(_name(item) for item in items) for items in (train_items, validation_items)]
    digits = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
    return f"{len(train_items)} train, {len(validation_items)} validate, {digits}"


def record_run(
    output_dir: str | Path,
    settings: Mapping[str, Any],
    train_items: Sequence[Mapping[str, Any]],
    validation_items: Sequence[Mapping[str, Any]],
) -> None:
    """Write `run.json` (command, settings, versions) and `split.json` (the cases of each part) into `output_dir`.

    Where the weights go to another folder (`ckpt_dir`), `run.json` is written beside them, too: what uses them looks
    for it there.

    Args:
        output_dir: made if needed.
        settings: resolved values of the configuration's top-level ids.
        train_items: data list of the training part.
        validation_items: data list of the validation part.
    """
    folder = Path(output_dir)
    run = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": {name: plain(value) for name, value in settings.items()},
        "versions": versions(),
    }
    for place in {folder.resolve(), Path(settings.get("ckpt_dir") or folder).resolve()}:
        _write_json(place / "run.json", run)
    _write_json(
        folder / "split.json",
        {"training": [_name(i) for i in train_items], "validation": [_name(i) for i in validation_items]},
    )
    logger.info(
        "training on %d cases, validating on %d; results go to %s.", len(train_items), len(validation_items), folder
    )


def print_next_steps(bundle_root: str | Path, settings: Mapping[str, Any]) -> None:
    """Print the commands that evaluate and use the network just trained.

    Args:
        bundle_root: the bundle.
        settings: as for `record_run`; what differs from the bundle's own `inference.json`, or `train.json`, is
            repeated in the commands, and so is what the command line said of `network_def`.
    """
    configs = Path(bundle_root) / "configs"
    start = ["python", "-m", "monai.bundle", "run", "--bundle_root", str(bundle_root)]
    weights = ["--ckpt", str(Path(settings["ckpt_dir"]) / "model.pt")]
    pair = f"['{configs / 'train.json'}','{configs / 'evaluate.json'}']"
    evaluate = [*start, "--config_file", pair, "--dataset_dir", str(settings["dataset_dir"]), *weights]
    use = [*start, "--config_file", str(configs / "inference.json"), "--dataset_dir", "YOUR_VOLUMES", *weights]
    files = (configs / name for name in ("train.json", "inference.json"))
    own_train, own_inference = (json.loads(file.read_text(encoding="utf-8-sig")) for file in files)
    shipped = own_train | {name: own_inference[name] for name in INFERENCE_IDS if name in own_inference}
    changed = {name: value for name, value in settings.items() if name in shipped and shipped[name] != value}
    network = network_options(sys.argv)
    if settings["dataset_dir"]:
        same = [*_overrides(changed, (*INFERENCE_IDS, "on_nonfinite", *SPLIT_IDS)), *network]
        logger.info("evaluate: %s", shlex.join([*evaluate, *same]))
    same = [*_overrides(changed, INFERENCE_IDS), *network]
    logger.info("use it: %s", shlex.join([*use, *same, "--output_dir", "MASKS"]))


def _overrides(changed: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [part for name in names if name in changed for part in (f"--{name}", str(changed[name]))]


def plain(value: Any) -> Any:
    """The value as JSON has it, or its text."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("case_id", item["image"]))


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
