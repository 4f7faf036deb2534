"""Where a server keeps its bundles: a copy of each, and beside it the versions that were trained on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_folder, atomic_path

__all__ = ["Model", "Result", "models_in", "prepare_app"]

logger = logging.getLogger(__name__)

MAIN = """# The app that MONAI Label starts; all of it is in the package.
from ulite_monai.label.app import UliteApp  # noqa: F401
"""
# Of a bundle: what was made with it, and what a version keeps beside it.
IGNORED = shutil.ignore_patterns(
    *("runs", "masks", "versions", "__pycache__", ".*", "labels", "tensorboard", "result.json", "*.ckpt", "*.old.pt")
)
MADE_BY_TRAINING = ("configs/inference.json", "models/model.pt")


@dataclass(frozen=True)
class Result:
    """What a training came to.

    Attributes:
        accepted: whether its weights are served.
        verdict: why, in one sentence.
        dice: mean Dice on the validation cases; None where there were none.
        dice_before: the same of the weights served until then.
        training, validation: ids of the cases.
        epochs: how many ran at most.
        seconds: how long it took.
    """

    accepted: bool
    verdict: str
    dice: float | None
    dice_before: float | None
    training: list[str]
    validation: list[str]
    epochs: int
    seconds: float

    @property
    def summary(self) -> str:
        """The training without the names of cases, which the verdict may hold."""
        dice = "" if self.dice is None else f", mean Dice {self.dice:.5f}"
        before = "" if self.dice_before is None else f", {self.dice_before:.5f} before"
        count = f"{len(self.training)} train, {len(self.validation)} validate"
        return f"trained in MONAI Label on corrected labels: {count}{dice}{before}"


class Model:
    """One bundle of a server, in `<app>/model/<name>`.

    The copy in `bundle/` stays as it came. A training writes into a new folder of `versions/`; the last file it writes
    is `result.json`, so a version without one was interrupted and doesn't count.

    Args:
        folder: `<app>/model/<name>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.bundle = folder / "bundle"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The bundle's `metadata.json`."""
        return json.loads((self.bundle / "configs" / "metadata.json").read_text(encoding="utf-8-sig"))

    @property
    def labels(self) -> dict[str, int]:
        """The classes without the background, and their label values."""
        if "label_values" in self.metadata:
            return dict(self.metadata["label_values"])
        channels = self.metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        return {name: int(value) for value, name in channels.items() if int(value) > 0}

    @property
    def spatial_dims(self) -> int:
        """2 for a bundle of images, 3 for one of volumes."""
        return len(self.metadata["network_data_format"]["inputs"]["image"]["spatial_shape"])

    @property
    def can_train(self) -> bool:
        """Whether it has a training configuration."""
        return (self.bundle / "configs" / "train.json").is_file()

    def results(self) -> dict[int, Result]:
        """What each finished training came to, by version."""
        files = sorted(self.folder.glob("versions/*/result.json"))
        return {int(file.parent.name): Result(**json.loads(file.read_text(encoding="utf-8-sig"))) for file in files}

    @property
    def version(self) -> int:
        """The version that is served: the newest accepted one; 0 is the bundle as it came."""
        return max((number for number, result in self.results().items() if result.accepted), default=0)

    @property
    def served(self) -> Path:
        """The bundle that is served: the newest accepted version, or the copy as it came."""
        number = self.version
        return self.folder / "versions" / f"{number:04d}" if number else self.bundle

    def weights(self) -> Path:
        """The weights that are served; the file needn't exist."""
        return self.served / "models" / "model.pt"

    def require_weights(self) -> Path:
        """The weights that are served.

        Raises:
            InputError: When there are none yet.
        """
        weights = self.weights()
        if not weights.is_file():
            raise InputError(f"the model {self.name} has no weights yet; save some labels and train it first.")
        return weights

    def new_version(self) -> Path:
        """A folder for the next training; two trainings never get the same."""
        versions = self.folder / "versions"
        versions.mkdir(exist_ok=True)
        number = max((int(path.name) for path in versions.iterdir() if path.name.isdigit()), default=0) + 1
        while True:
            folder = versions / f"{number:04d}"
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
            number += 1

    def finish(self, folder: Path, result: Result) -> None:
        """Write down what the training in `folder` came to, in its metadata too; from then on the version counts."""
        metadata = folder / "configs" / "metadata.json"
        content = json.loads(metadata.read_text(encoding="utf-8"))
        content["version"] = f"{content['version']}+label.{int(folder.name)}"
        content["changelog"] = {content["version"]: result.summary}
        with atomic_path(metadata) as path:
            path.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
        with atomic_path(folder / "result.json") as path:
            path.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")

    def export(self, target: Path) -> None:
        """Copy the bundle that is served to a new folder.

        Raises:
            InputError: When there are no weights, or something is at `target`.
        """
        self.require_weights()
        if target.exists():
            raise InputError(f"{target}: exists and wasn't touched; give a new folder.")
        with atomic_folder(target) as partial:
            shutil.copytree(self.served, partial, ignore=IGNORED)


def prepare_app(app: Path, bundles: Sequence[str]) -> list[Model]:
    """Make `app` a folder that MONAI Label can start, holding a copy of each bundle; what is there stays.

    Raises:
        InputError: When a bundle can't be used, or two have one name.
    """
    models = [_copied(app, name) for name in bundles]
    with atomic_path(app / "main.py") as path:
        path.write_text(MAIN, encoding="utf-8")
    return models


def models_in(app: Path, names: Sequence[str] = ()) -> dict[str, Model]:
    """The models in an app's folder, by default all.

    Raises:
        InputError: When a name isn't among them.
    """
    found = {path.parent.name: Model(path.parent) for path in sorted(app.glob("model/*/bundle"))}
    for name in names:
        if name not in found:
            raise InputError(f"{app}: has no model {name!r}, it has {', '.join(found) or 'none'}.")
    return {name: found[name] for name in names} if names else found


def _copied(app: Path, bundle: str) -> Model:
    source = find_bundle(bundle).resolve()
    for file in ("inference.json", "metadata.json"):
        if not (source / "configs" / file).is_file():
            raise InputError(f"{source}: has no configs/{file}, so it can't be served.")
    _require_one_file(source)
    model = Model(app / "model" / (bundle if bundle in BUNDLES else source.name))
    origin = model.folder / "origin.txt"
    if not model.bundle.is_dir():
        model.folder.mkdir(parents=True, exist_ok=True)
        with atomic_folder(model.bundle) as partial:
            shutil.copytree(source, partial, ignore=IGNORED)
            origin.write_text(f"{source}\n", encoding="utf-8")
    elif origin.read_text(encoding="utf-8").strip() != str(source):
        raise InputError(
            f"{source}: {app} already has a model {model.name}, copied from {origin.read_text().strip()}; rename the "
            "bundle's folder or give another --work."
        )
    elif any(_content(source / name) != _content(model.bundle / name) for name in MADE_BY_TRAINING):
        logger.warning(
            "warning: %s has changed since it was copied to %s, and what is served comes from the copy; give another "
            "--work to serve it as it is now.",
            *(source, model.bundle),
        )
    return model


def _require_one_file(source: Path) -> None:
    metadata = json.loads((source / "configs" / "metadata.json").read_text(encoding="utf-8-sig"))
    image = metadata["network_data_format"]["inputs"]["image"]
    if len(image["spatial_shape"]) == 3 and image["num_channels"] > 1:
        raise InputError(
            f"{source}: takes volumes of {image['num_channels']} channels, a file each; MONAI Label sends one file."
        )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
