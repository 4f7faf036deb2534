"""The record of a run: what was trained on what, by which versions, and the commands to go on with."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ulite_monai import __version__
from ulite_monai.io.atomic import atomic_path

__all__ = ["print_next_steps", "record_run", "versions"]

logger = logging.getLogger(__name__)


def versions() -> dict[str, str]:
    """Versions of Python, this package and the ones that results depend on."""
    found = {"python": platform.python_version(), "ulite-monai": __version__}
    for name in ("monai", "torch", "numpy", "nibabel", "pytorch-ignite"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def record_run(
    output_dir: str | Path,
    settings: Mapping[str, Any],
    train_items: Sequence[Mapping[str, Any]],
    validation_items: Sequence[Mapping[str, Any]],
) -> None:
    """Write `run.json` (command, settings, versions) and `split.json` (the cases of each part) into `output_dir`.

    Args:
        output_dir: made if needed.
        settings: resolved values of the configuration's top-level ids.
        train_items: data list of the training part.
        validation_items: data list of the validation part.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    run = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": {name: _plain(value) for name, value in settings.items()},
        "versions": versions(),
    }
    _write_json(folder / "run.json", run)
    _write_json(
        folder / "split.json",
        {"training": [_name(i) for i in train_items], "validation": [_name(i) for i in validation_items]},
    )
    logger.info(
        "training on %d cases, validating on %d; results go to %s.", len(train_items), len(validation_items), folder
    )


def print_next_steps(bundle_root: str | Path, dataset_dir: str | Path, ckpt_dir: str | Path) -> None:
    """Print the commands that evaluate and use the network just trained."""
    configs = Path(bundle_root) / "configs"
    root = f"--bundle_root {shlex.quote(str(bundle_root))}"
    ckpt = f"--ckpt {shlex.quote(str(Path(ckpt_dir) / 'model.pt'))}"
    pair = shlex.quote(f"['{configs / 'train.json'}','{configs / 'evaluate.json'}']")
    inference = shlex.quote(str(configs / "inference.json"))
    data = shlex.quote(str(dataset_dir))
    logger.info("evaluate: python -m monai.bundle run %s --config_file %s --dataset_dir %s %s", root, pair, data, ckpt)
    logger.info(
        "use it:   python -m monai.bundle run %s --config_file %s --dataset_dir YOUR_VOLUMES --output_dir MASKS %s",
        root,
        inference,
        ckpt,
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | type(None)) else str(value)


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("case_id", item["image"]))


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
