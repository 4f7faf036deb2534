"""A bundle measured on labelled cases, by its own `evaluate.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from ulite_monai.bundles import find_bundle
from ulite_monai.engines.command_line import require_ids
from ulite_monai.engines.quiet import silence_noise
from ulite_monai.engines.running_config import literal
from ulite_monai.errors import InputError

__all__ = ["evaluate_bundle"]


def evaluate_bundle(
    bundle: str | Path,
    dataset_dir: str | Path,
    output_dir: str | Path,
    ckpt: str | Path | None = None,
    fold: int | str = "all",
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Do what `monai.bundle run` does with a bundle's `train.json` and `evaluate.json`.

    Args:
        bundle: a shipped bundle's name, or a path. Its configuration is code: name only bundles that you trust.
        dataset_dir: a labelled data set.
        output_dir: gets `metrics.csv`, `summary.json` and pictures; made if needed.
        ckpt: weights other than the bundle's own, or a pattern for the ensemble of several.
        fold: "all" cases, or those that a fold validates.
        overrides: values of the configurations' ids.

    Raises:
        InputError: When the bundle, its weights, the data set or a value can't be used; it may be the cause of
            another error.
    """
    root = find_bundle(bundle)
    configs = [root / "configs" / name for name in ("train.json", "evaluate.json")]
    for config in configs:
        if not config.is_file():
            raise InputError(f"{root}: has no configs/{config.name}, so it can't be evaluated.")
    require_ids(overrides or {}, configs)
    paths = {"bundle_root": literal(root), "dataset_dir": literal(dataset_dir), "output_dir": literal(output_dir)}
    weights = {} if ckpt is None else {"ckpt": Path(ckpt)}  # as a path, not as text, which might be evaluated
    given: dict[str, Any] = {**paths, **weights, "fold": fold, **(overrides or {})}
    if fold == "all":  # without folds no groups matter, and other data may have other ids
        given = {"group": None} | given
    silence_noise()
    workflow = ConfigWorkflow(
        config_file=[str(config) for config in configs],
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=False,
        **given,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
