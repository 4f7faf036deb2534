"""The card of a run's own bundle: what is known of it, in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ulite_monai.engines.versions import versions

__all__ = ["run_card"]


def run_card(metadata: Mapping[str, Any], train: Mapping[str, Any], command: Sequence[str], has_curve: bool) -> str:
    """The text of `docs/README.md`.

    Args:
        metadata: of the run's bundle.
        train: its `train.json`.
        command: that trained it.
        has_curve: whether `curve.csv` lies beside the card.
    """
    figures = metadata.get("eval_metrics", {})
    dice = {name.removeprefix("dice_").replace("|", r"\|"): value for name, value in figures.items() if name != "of"}
    rows = [f"| {name} | {value} |" for name, value in dice.items()]
    ranges = metadata.get("input_ranges", {})
    folds = f"{metadata['folds']} " if metadata.get("folds") else ""
    parts = [
        f"# {metadata['name']}",
        "Weights trained on their user's data. For research use only. The output is not for diagnosis or treatment.",
        "## Data",
        f"Trained on {metadata['data_source']}. `split.json` names the cases. {folds}The licence of the weights is for "
        "whoever trained them to state.",
        *([f"Volumes that it is for (half to twice what it was trained on): {_words(ranges)}."] if ranges else []),
        "## Recipe",
        f"`configs/train.json`: {train.get('epochs')} epochs of batches of {train.get('batch_size')}, patches of "
        f"{_by(train.get('patch_size', []))}, seed {train.get('seed')}, fold {train.get('fold')} of "
        f"{train.get('num_folds')}. The command was",
        f"```bash\n{shlex.join(command)}\n```",
        "## Validation",
    ]
    if rows:
        parts += [
            f"Mean Dice on {figures['of']}, so that it flatters a little:",
            "\n".join(["| class | Dice |", "|---|---|", *rows]),
        ]
    else:
        parts.append("There is no figure yet: no epoch was validated.")
    if has_curve:
        parts.append("`curve.csv` has the loss and the Dice of each epoch.")
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n\n".join([*parts, "## Versions", f"{installed}.", "## Use", _USE]) + "\n"


_USE = """```bash
ulite predict --bundle THIS_FOLDER -i YOUR_VOLUMES -o MASKS
ulite evaluate THIS_FOLDER --dataset YOUR_LABELLED_VOLUMES -o EVALUATION
python -m monai.bundle run --bundle_root THIS_FOLDER --config_file THIS_FOLDER/configs/inference.json \\
    --dataset_dir YOUR_VOLUMES --output_dir MASKS
```"""


def _words(ranges: Mapping[str, Any]) -> str:
    axes = ("right to left", "front to back", "head to foot")
    extents = zip(axes, ranges.get("extent_mm", []), strict=False)
    parts = [f"{low:g} to {high:g} mm from {axis}" for axis, (low, high) in extents]
    if "spacing_mm" in ranges:
        parts.append("spacing {:g} to {:g} mm".format(*ranges["spacing_mm"]))
    if "modality" in ranges:
        parts.append(f"modality {' or '.join(ranges['modality'])}")
    return ", ".join(parts)


def _by(values: Sequence[Any]) -> str:
    return "x".join(map(str, values))
