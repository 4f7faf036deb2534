"""What a training leaves: a bundle of its own, which needs nothing of the one it ran from."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.datasets.labelled import case_digest, case_names
from ulite_monai.engines.running_config import running_parser
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.planning.json_text import write_json
from ulite_monai.planning.ranges import training_ranges
from ulite_monai.planning.run_card import run_card
from ulite_monai.planning.run_configs import differing, load_configs, plain, run_configs
from ulite_monai.planning.run_metadata import run_metadata, with_figures
from ulite_monai.reports.html import write_report
from ulite_monai.training.checkpoints import LAST, CheckpointHandler
from ulite_monai.training.distributed import is_first

__all__ = ["RunBundle", "mean_dice", "write_figures"]

logger = logging.getLogger(__name__)

# What may differ when a run is resumed: how long it goes on, and what it is validated with.
MAY_CHANGE = (
    *("hours", "reserve", "epochs", "val_interval", "val_cases", "patience"),
    *("roi_size", "grow_windows", "overlap", "train"),
)
COPIED = ("inference.json", "evaluate.json", "multi_gpu_train.json", "metadata.json", "train.json")


class RunBundle:
    """The bundle that a training writes: `configs/` at its start, `models/` while it runs, `docs/` at its end.

    Where the weights go to another folder than the bundle's `models/`, as MONAI Label's stock app has it, nothing
    but the split is written.

    Args:
        folder: the bundle's.
        ckpt_dir: where the weights go.
        bundle_root: the bundle that the training runs from.
        training: data list of the training part.
        validation: data list of the validation part.
        folds: where the folds come from, in a sentence.
        ranges: of the volumes that it is for; None for those of the training part, see `training_ranges`.
    """

    def __init__(
        self,
        folder: str | Path,
        ckpt_dir: str | Path,
        bundle_root: str | Path,
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]],
        folds: str = "",
        ranges: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.is_whole = Path(ckpt_dir).resolve() == (self.folder / "models").resolve()
        self.source = Path(bundle_root)
        self.training = training
        self.validation = validation
        self.folds = folds
        self.ranges = ranges
        self.labels: list[str] = []

    @property
    def curve(self) -> Path | None:
        """Where the training writes a row an epoch; None where no bundle is written."""
        return self.folder / "docs" / "curve.csv" if self.is_whole else None

    def require_same(self) -> None:
        """Check, before a training is resumed, that the bundle that is there is of the same run.

        Raises:
            InputError: When it differs in more than a resumption may change. It names what.
        """
        if self.is_whole and is_first():
            self._require_same(run_configs(running_parser(), load_configs(self.source))["train.json"], self._split)

    def require_free(self, overwrite: bool) -> None:
        """Check, before a new training, that no other bundle is lost.

        Args:
            overwrite: whether the bundle of another training may be replaced.

        Raises:
            InputError: When there is a bundle that no training left, or one that may not be replaced.
        """
        if not (self.is_whole and is_first() and any((self.folder / "configs").glob("*.json"))):
            return
        if (self._docs / "plan.json").is_file() and not any((self.folder / "models").glob("*")):
            return  # planned, and not trained yet
        of_a_run = (self._docs / "split.json").is_file()
        if not of_a_run:
            raise InputError(f"{self.folder}: holds a bundle already; give another --output_dir.")
        if not overwrite:
            raise InputError(
                f"{self.folder}: holds a training already; go on with it by --resume True, replace it by "
                "--overwrite True, or give another --output_dir."
            )

    def write(self) -> None:
        """Write what is known before the first epoch.

        Raises:
            InputError: When the system refuses to write, or the source is no bundle.
        """
        if not is_first():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.is_whole:
            parser = running_parser()
            self.labels = [str(label) for label in parser.get_parsed_content("labels")]
            configs = run_configs(parser, load_configs(self.source))
            values = parser.get_parsed_content("label_values") if "label_values" in parser.get() else None
            self._write_bundle(configs, int(parser.get_parsed_content("in_channels")), values)
        write_json(self._docs / "split.json", self._split)
        counts = len(self.training), len(self.validation)
        what = "the bundle is" if self.is_whole else "no bundle is written, the split goes to"
        if self.folds:
            logger.info("%s", self.folds)
        logger.info("training on %d cases, validating on %d; %s %s.", *counts, what, self.folder)

    def update(self, checkpoints: CheckpointHandler) -> None:
        """Write what the training has come to into the card and the metadata.

        Args:
            checkpoints: know the best epoch and its figures.
        """
        if not (is_first() and self.is_whole):
            return
        path = self.folder / "configs" / "train.json"
        train = json.loads(path.read_text(encoding="utf-8"))
        if checkpoints.trainer is not None:  # whose number of epochs depends on the time, see `KeepTime`
            train["epochs"] = checkpoints.trainer.state.max_epochs
            write_json(path, train)
        of, dice = "", {}
        if checkpoints.best_epoch and self.validation:
            cases = train.get("val_cases") or len(self.validation)
            of = f"{cases} validation cases, which chose epoch {checkpoints.best_epoch}"
            dice = dict(zip(self.labels, checkpoints.best_dice, strict=False))
        write_figures(self.folder, of, dice)

    def finish(self, checkpoints: CheckpointHandler) -> None:
        """Write what the training came to, as `update` does, and the report; log the commands to go on with."""
        self.update(checkpoints)
        if not (is_first() and self.is_whole):
            return
        logger.info("report: %s", write_report(self.folder))
        folder = shlex.quote(str(self.folder))
        logger.info("evaluate: ulite evaluate %s --dataset YOUR_LABELLED_VOLUMES -o EVALUATION", folder)
        logger.info("use it: ulite predict --bundle %s -i YOUR_VOLUMES -o MASKS", folder)

    @property
    def _split(self) -> dict[str, list[str]]:
        return {"training": case_names(self.training), "validation": case_names(self.validation)}

    @property
    def _docs(self) -> Path:
        return self.folder / "docs" if self.is_whole else self.folder

    def _write_bundle(self, configs: Mapping[str, dict[str, Any]], channels: int, values: Sequence[int] | None) -> None:
        source = configs["metadata.json"]
        volumes = len(source["network_data_format"]["inputs"]["image"]["spatial_shape"]) == 3
        cases = case_digest(self.training, self.validation)
        ranges = self.ranges
        if ranges is None:
            ranges = training_ranges(self.training) if volumes else {}
        metadata = run_metadata(source, self.labels, channels, cases, ranges, values) | {"folds": self.folds}
        for name, content in {**configs, "metadata.json": metadata}.items():
            if name in COPIED:
                write_json(self.folder / "configs" / name, content)
        for name in ("configs/logging.conf", "LICENSE"):
            if (self.source / name).is_file() and not (self.folder / name).exists():
                shutil.copyfile(self.source / name, self.folder / name)
        write_figures(self.folder)

    def _require_same(self, train: Mapping[str, Any], split: Mapping[str, Any]) -> None:
        try:
            former = json.loads((self.folder / "configs" / "train.json").read_text(encoding="utf-8"))
            former_split = json.loads((self._docs / "split.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{self.folder}: holds no training to resume; give the --output_dir of the run.") from None
        names = differing(former, plain(train), but=MAY_CHANGE)
        if names:
            found = "; ".join(f"{name} was {_short(former.get(name))}, now {_short(train.get(name))}" for name in names)
            raise InputError(f"{self.folder / 'models' / LAST}: {found}. Give what the run was started with.")
        if former_split != split:
            raise InputError(
                f"{self.folder / 'models' / LAST}: was trained on {_count(former_split)} cases, this is another split "
                f"({_count(split)}); give the run's own data, --fold, --num_folds and --seed."
            )


def mean_dice(summary: Mapping[str, Any]) -> dict[str, float]:
    """The mean Dice of each class that has one, of a summary as `reports.metrics.summarize` has it."""
    return {name: one["dice"]["mean"] for name, one in summary["labels"].items() if one["dice"] is not None}


def write_figures(folder: Path, of: str = "", dice: Mapping[str, float] | None = None) -> None:
    """Write figures into a run's metadata, and its card with them.

    Args:
        folder: the bundle's.
        of: what was validated, in words.
        dice: mean Dice of each class by its name; without any, the card says that there is no figure yet.
    """
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if dice:
        metadata = with_figures(metadata, of, dice)
        write_json(path, metadata)
    train = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    with atomic_path(folder / "docs" / "README.md") as temporary:
        has_curve = (folder / "docs" / "curve.csv").is_file()
        temporary.write_text(run_card(metadata, train, _command(), has_curve), encoding="utf-8")


def _command() -> list[str]:
    """What was typed: a module's path is said by its name, other paths by their last part."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return [Path(sys.argv[0]).name, *map(_without_folders, sys.argv[1:])]
    return ["python", "-m", spec.name.removesuffix(".__main__"), *map(_without_folders, sys.argv[1:])]


def _without_folders(argument: str) -> str:
    """Paths by their last part: where a data set lies is nobody else's business, and may name a patient."""
    return re.sub(r"[^'\",\[\]=]*/(?=[^/])", "", argument)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _count(split: Mapping[str, Any]) -> str:
    return " + ".join(str(len(part)) for part in split.values())
