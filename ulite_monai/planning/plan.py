"""From a fingerprint to a plan: what to train with, each choice with its reason and the rule's source.

The rules are nnU-Net's where they don't ask for a GPU: Isensee et al., Nature Methods 18:203, 2021. Where a small
network on a CPU differs, the rule is ours, and docs/plan.md says why. They are pure functions: the same fingerprint
and machine give the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ulite_monai.datasets.labelled import flips_beside_sides
from ulite_monai.engines.process import cores, trains_faster_in_half
from ulite_monai.planning.plan_network import COARSEST, Grid, network_of, patch_of, shown

__all__ = ["Choice", "Data", "Machine", "Plan", "make_plan"]

NNUNET = "nnU-Net: Isensee et al., Nature Methods 18:203, 2021"
PAPER = "U-Lite: Dinh et al., arXiv:2306.16103"
OURS = "ours: a small network on a CPU"
GIVEN = "given by --set"

THICK = 3.0  # times the finest spacing, from which on slices are thick (nnU-Net)
FLAT = 3  # slices; volumes of no more are segmented slice by slice
EMPTY = 0.25  # share of voxels at 0, from which on the background counts as empty (nnU-Net: what a crop saves)
CONTEXT = 1.3  # times a structure's extent, which a patch should show
SEEN = 6  # times that a training should see every voxel of the data
SMALLEST = 8  # voxels that a small structure should keep across
LARGE = 4  # patches in a volume, from which on patches cut anywhere would mostly be background
FOREGROUND = 0.5  # share of patches around a structure: nnU-Net's of a batch of two
ROTATION, SHEAR, SCALE, MARGIN = 0.4, 0.1, 0.25, 1.5
CELLS_A_SECOND = {2: 300_000, 3: 60_000}  # of a network's finest grid, trained on one core in float32 (docs/plan.md)
HALF = 1.5  # times as fast where the CPU multiplies bfloat16
STEPS = 6600  # after which the shipped bundles had learnt what they learnt
TRAINING_SHARE, VALIDATION_SHARE = 0.75, 0.15  # of the time
FORWARD = 3  # times as fast as a training step
MOST_EPOCHS, VALIDATIONS = 100, 10  # an epoch is a pass over the cases, or several


@dataclass(frozen=True)
class Choice:
    """One choice of a plan.

    Attributes:
        what: is chosen, in a word or two.
        value: in words.
        reason: a clause.
        source: of the rule.
        ids: values of `train.json` that it comes to.
    """

    what: str
    value: str
    reason: str
    source: str
    ids: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All choices, and what they come to.

    Attributes:
        kind: "volumes" or "images", the template.
        choices: in the order in which they were made.
        values: of ids, by file, as `ulite_monai.planning.compose` takes them.
    """

    kind: str
    choices: list[Choice]
    values: dict[str, dict[str, Any]]

    def lines(self) -> list[str]:
        """A line a choice, to print."""
        width = max(len(choice.what) for choice in self.choices)
        return [
            f"{choice.what:<{width}}  {choice.value}: {choice.reason} ({choice.source.split(':')[0]})"
            if choice.source != GIVEN
            else f"{choice.what:<{width}}  {choice.value} ({GIVEN})"
            for choice in self.choices
        ]


@dataclass(frozen=True)
class Machine:
    """What trains: cores, whether they multiply bfloat16, and the hours that are given."""

    cores: int
    half: bool
    hours: float = 1.0

    @classmethod
    def present(cls, hours: float = 1.0) -> Machine:
        """This machine."""
        return cls(cores(), trains_faster_in_half("cpu"), hours)

    def cells(self, axes: int) -> float:
        """Of the finest grid of a network of 2 or 3 axes, trained in the time."""
        return (
            CELLS_A_SECOND[axes] * min(self.cores, 8) * (HALF if self.half else 1) * self.hours * 3600 * TRAINING_SHARE
        )


class Data:
    """A fingerprint in numbers.

    Attributes:
        shape, spacing: medians over the cases, by axis.
        extents: of each class, medians of its largest component by axis, in mm or pixels.
    """

    def __init__(self, fingerprint: Mapping[str, Any]) -> None:
        self.images = fingerprint["kind"] == "images"
        self.classes: list[str] = fingerprint["classes"]
        self.instances = bool(fingerprint.get("instances"))
        self.channels: int = fingerprint["channels"]
        self.modality: str | None = fingerprint["modality"]
        self.intensities: list[dict[str, float]] = fingerprint["intensities"]
        self.cases: list[dict[str, Any]] = fingerprint["cases"]
        self.spacings = np.array([case["spacing"] for case in self.cases])
        self.spacing = np.median(self.spacings, axis=0)
        self.shape = np.median([case["shape"] for case in self.cases], axis=0)
        self.extents = [
            np.median([case["classes"][name]["largest"] for case in self.cases if name in case["classes"]], axis=0)
            for name in self.classes
            if any(name in case["classes"] for case in self.cases)
        ]

    @property
    def empty_at_zero(self) -> bool:
        """Whether the background of nearly every case is 0 and takes a part of it that is worth leaving out."""
        zero = [case["empty"] >= EMPTY and all(low == 0 for low, _ in case["range"]) for case in self.cases]
        return float(np.mean(zero)) > 0.9

    @property
    def is_ct(self) -> bool:
        """Whether it is declared as CT, or has values as Hounsfield's: air far below 0, tissue above."""
        if self.modality is not None:
            return self.modality.upper() == "CT"
        like = [-3100 <= low <= -200 and high >= 100 for case in self.cases for low, high in case["range"]]
        return not self.images and float(np.mean(like)) > 0.9


def make_plan(
    fingerprint: Mapping[str, Any], machine: Machine, dims: str = "auto", given: Mapping[str, Any] | None = None
) -> Plan:
    """The plan for a data set.

    Args:
        fingerprint: of `ulite_monai.planning.fingerprint`.
        machine: what will train, and for how long.
        dims: "auto", "2" or "3". Volumes are segmented slice by slice with "2".
        given: values by id that the user chose; what depends on them follows.
    """
    return _Planner(Data(fingerprint), machine, dims, given or {}).plan()


class _Planner:
    """Makes one choice after the other; a later one builds on what the earlier ones came to."""

    def __init__(self, data: Data, machine: Machine, dims: str, given: Mapping[str, Any]) -> None:
        self.data = data
        self.machine = machine
        self.dims = dims
        self.given = given
        self.choices: list[Choice] = []
        self.ids: dict[str, Any] = {}

    def plan(self) -> Plan:
        data = self.data
        for rule in (
            self._shape, self._spacing, self._intensities, self._crop, self._patch, self._network, self._sampling,
            self._flips, self._deformation, self._loss, self._windows, self._length,
        ):  # fmt: skip
            choice = rule()
            if choice is not None:
                self._take(choice)
        train = {"labels": data.classes, "in_channels": data.channels, **self.ids}
        inference: dict[str, Any] = {
            name: train[name] for name in ("labels", "roi_size", "grow_windows", "flip_axes") if name in train
        }
        if data.images:
            train |= {"instances": data.instances}
            inference.pop("flip_axes")
        return Plan(
            "images" if data.images else "volumes",
            self.choices,
            {"train.json": train, "inference.json": inference, "evaluate.json": {"labels": data.classes}},
        )

    def _take(self, choice: Choice) -> None:
        typed = {name: self.given[name] for name in choice.ids if name in self.given}
        if typed:
            value = ", ".join(f"{name} {shown(one)}" for name, one in typed.items())
            choice = Choice(choice.what, value, GIVEN, GIVEN, choice.ids | typed)
        self.choices.append(choice)
        self.ids |= choice.ids

    # What the network sees.

    def _shape(self) -> Choice:
        data = self.data
        if data.images:
            self.flat, self.thick = False, None
            return Choice("dimensions", "2D", "the data set holds images", OURS)
        slices, ratio = data.shape[self._thickest], data.spacing.max() / data.spacing.min()
        self.flat = self.dims == "2" or (self.dims == "auto" and slices <= FLAT)
        self.thick = self._thickest if self.flat or ratio >= THICK else None
        if self.flat:
            reason = f"volumes have {slices:.0f} slices" if slices <= FLAT else "given by --dims"
            return Choice("dimensions", "2D, slice by slice", reason, OURS)
        if self.thick is not None:
            reason = f"slices are {ratio:.1f} times as thick as pixels are wide, at least {THICK:g}"
            return Choice("dimensions", "3D with thick slices", reason, NNUNET)
        return Choice("dimensions", "3D", f"the largest spacing is {ratio:.1f} times the smallest", NNUNET)

    @property
    def _thickest(self) -> int:
        spacing = self.data.spacing
        return int(spacing.argmax()) if spacing.max() > spacing.min() else int(self.data.shape.argmin())

    def _spacing(self) -> Choice | None:
        data = self.data
        if data.images:
            return None
        usual = data.spacing.copy()
        reason, source = "the median of the cases", NNUNET
        if self.thick is not None and not self.flat:
            others = np.delete(usual, self.thick).max()
            usual[self.thick] = max(others, np.percentile(data.spacings[:, self.thick], 10))
            reason = "the median; along the thick axis the 10th percentile"
        finest, why = self._finest(usual)
        if finest > usual.min() * 1.02:
            reason, source = f"{reason} ({shown(usual)}), no finer than {finest:.3g}: {why}", OURS
        spacing = _round(np.maximum(usual, finest))
        return Choice("spacing, mm", shown(spacing), reason, source, {"spacing": spacing})

    def _finest(self, usual: np.ndarray) -> tuple[float, str]:
        """The finest spacing at which a patch shows the structures, and the time suffices to see all of the data."""
        data = self.data
        volume = data.shape * data.spacing
        structures = np.median(data.extents, axis=0) if data.extents else volume
        wanted = np.minimum(CONTEXT * structures, volume)
        seen = self.machine.cells(3) / (SEEN * len(data.cases))
        most = min((float(extents.min()) / SMALLEST for extents in data.extents), default=math.inf)
        finest, why = float(usual.min()), ""
        while finest * 1.05 <= max(most, usual.min()):
            grid = Grid(np.maximum(usual, finest), self.thick, self.flat)
            if math.prod(wanted / grid.spacing) / grid.voxels_a_cell > grid.most_cells:
                why = "or a patch would show too little of a structure"
            elif math.prod(volume / grid.spacing) / grid.voxels_a_cell > seen:
                why = f"or {self.machine.hours:g} h would see each case less than {SEEN} times"
            else:
                break
            finest *= 1.05
        return finest, why

    def _intensities(self) -> Choice:
        data = self.data
        keys = {"keys": "image"}
        if data.is_ct and data.intensities and all(data.intensities):
            low, high = (fun(one[name] for one in data.intensities) for fun, name in ((min, "low"), (max, "high")))
            mean, sd = (float(np.mean([one[name] for one in data.intensities])) for name in ("mean", "sd"))
            scaled = [float(f"{(edge - mean) / max(sd, 1e-8):.6g}") for edge in (low, high)]
            step = {"_target_": "ScaleIntensityRanged", **keys, "a_min": low, "a_max": high, "b_min": scaled[0],
                    "b_max": scaled[1], "clip": True}  # fmt: skip
            value = f"clipped to {low:.4g} to {high:.4g}, minus {mean:.4g}, by {sd:.4g}"
            told = "declared as CT" if data.modality else "the values are like Hounsfield's"
            reason = f"{told}; percentiles 0.5 and 99.5, mean and sd of the labelled voxels of all cases"
            return Choice("intensities", value, reason, NNUNET, {"normalization": step})
        step = {"_target_": "NormalizeIntensityd", **keys} | ({} if data.images else {"channel_wise": True})
        if data.empty_at_zero and not data.images:
            step["nonzero"] = True
            reason = "no CT, and the background is empty"
            return Choice(
                "intensities", "z-score of each case, of what isn't 0", reason, NNUNET, {"normalization": step}
            )
        return Choice("intensities", "z-score of each case", "no CT", NNUNET, {"normalization": step})

    def _crop(self) -> Choice | None:
        data = self.data
        if data.images:
            return None
        kept = float(np.median([math.prod(case["filled"]) / math.prod(case["shape"]) for case in data.cases]))
        crop = kept <= 1 - EMPTY
        value = "empty borders are cut off" if crop else "the whole volume"
        reason = f"what isn't background takes a box of {100 * kept:.0f} % of the volume"
        return Choice(
            "field of view", value, reason, NNUNET, {"skip_empty": crop, "skip_empty_margin": 4 if crop else 16}
        )

    # How it is cut, and what computes it.

    @property
    def _grid(self) -> Grid:
        if self.data.images:
            return Grid(np.ones(2), None, False)
        return Grid(np.asarray(self.ids["spacing"], dtype=float), self.thick, self.flat)

    @property
    def _size(self) -> np.ndarray:
        """Of the median case, in voxels of the working grid."""
        if self.data.images:
            return self.data.shape
        shape = self.data.shape
        if self.ids.get("skip_empty"):
            shape = np.median([case["filled"] for case in self.data.cases], axis=0)
        return shape * self.data.spacing / self._grid.spacing

    def _patch(self) -> Choice:
        data, grid = self.data, self._grid
        structures = np.median(data.extents, axis=0) if data.extents else self._size * grid.spacing
        patch, batch, reason = patch_of(grid, self._size, CONTEXT * structures / grid.spacing)
        value = f"{batch} of {_by(patch)}"
        return Choice("patches", value, reason, OURS, {"patch_size": patch, "batch_size": batch})

    def _network(self) -> Choice:
        grid = self._grid
        arguments = network_of(grid, self.ids["patch_size"])
        definition = {
            "_target_": "ulite_monai.networks.ULite",
            "spatial_dims": len(grid.spacing),
            "in_channels": "@in_channels",
            "out_channels": "$len(@labels) + 1",
            **arguments,
        }
        features = arguments.get("features", [16, 32, 64, 128, 256, 512])
        value = f"U-Lite of {len(features) - 1} blocks, {features[0]} to {features[-1]} channels"
        stem = arguments.get("stem_stride", 1)
        value += f", stem stride {shown(stem)}" if stem != 1 else ""
        ids = {"network_def": definition}
        if grid.is_image:
            return Choice("network", value, "the paper's, with fewer levels for small images", PAPER, ids)
        reason = f"an axis is pooled while it has more than {COARSEST} cells"
        if self.thick is None:
            return Choice("network", value, reason, OURS, ids)
        return Choice("network", value, f"{reason}, the thick axis once the others are as coarse", NNUNET, ids)

    def _sampling(self) -> Choice:
        ratio = math.prod(self._size) / math.prod(self.ids["patch_size"])
        share = FOREGROUND if ratio >= LARGE else 0.0
        value = f"{100 * share:.0f} % of patches around a structure, each class in turn" if share else "anywhere"
        source = NNUNET if share else OURS
        reason = f"the median case is as large as {ratio:.1f} patches; borders are reached as often as the inside"
        return Choice("sampling", value, reason, source, {"foreground_share": share})

    def _flips(self) -> Choice:
        axes = [0, 1] if self.data.images else [0]
        kept = flips_beside_sides(self.data.classes, axes)
        names = ("left-right", "up-down") if self.data.images else ("left-right",)
        value = ", ".join(names[axis] for axis in kept) or "none"
        reason = "classes name sides" if kept != axes else "no class names a side"
        return Choice("flips", value, reason, OURS, {"flip_axes": kept})

    def _deformation(self) -> Choice | None:
        if self.data.images:
            return None
        axes = range(3)
        turned = [ROTATION if self.thick in (None, axis) else 0.0 for axis in axes]
        sheared = [SHEAR if self.thick not in (i, j) else 0.0 for i in axes for j in axes if i != j]
        scaled = [SCALE if self.thick != axis else 0.0 for axis in axes]
        margin: Any = MARGIN if self.thick is None else [MARGIN if self.thick != axis else 1.0 for axis in axes]
        value = f"to {math.degrees(ROTATION):.0f} degrees" + (" within slices" if self.thick is not None else "")
        reason = "slices are thick" if self.thick is not None else "voxels are about as long along all axes"
        ids = {"rotate_range": turned, "scale_range": scaled, "shear_range": sheared, "margin": margin}
        return Choice("rotations", value, reason, NNUNET, ids)

    def _loss(self) -> Choice | None:
        if not self.data.images:
            return None
        loss = {"_target_": "DiceCELoss", "softmax": True, "include_background": False, "batch": True}
        value = "Dice of the batch without the background, and cross-entropy"
        return Choice("loss", value, "an image may hold no structure", NNUNET, {"loss": loss})

    def _windows(self) -> Choice:
        patch, large = self.ids["patch_size"], bool(self.ids["foreground_share"])
        if self.data.images:
            ids = {"roi_size": [max(512, side) for side in patch], "grow_windows": True, "overlap": 0.5}
            return Choice("inference", "the whole image, or windows", "the memory decides", OURS, ids)
        if large or self.flat:
            overlap = 0.5
            ids = {"roi_size": patch, "grow_windows": False, "overlap": overlap}
            return Choice("inference", f"windows of {_by(patch)}, overlap {overlap}", "as in training", NNUNET, ids)
        roi = [max(96, side) for side in patch]
        ids = {"roi_size": roi, "grow_windows": True, "overlap": 0.25}
        return Choice(
            "inference", "the whole volume in one pass, or windows", "patches show nearly all of it", OURS, ids
        )

    def _length(self) -> Choice:
        data, grid = self.data, self._grid
        batch, patch = self.ids["batch_size"], self.ids["patch_size"]
        training = max(1, round(0.8 * len(data.cases)))
        step = batch * math.prod(patch) / grid.voxels_a_cell
        steps = int(np.clip(self.machine.cells(len(patch)) / step, 500, STEPS * max(1.0, self.machine.hours)))
        passes = max(10, round(steps / max(1, training // batch)))
        epochs, each = (passes, None) if passes <= MOST_EPOCHS else (MOST_EPOCHS, max(1, round(steps / MOST_EPOCHS)))
        twice = 1 if self.ids["grow_windows"] else 1 / (1 - self.ids["overlap"]) ** (3 - (self.thick is not None))
        case = math.prod(self._size) / grid.voxels_a_cell * twice / FORWARD
        number = VALIDATION_SHARE / TRAINING_SHARE * steps * step / case  # of cases that may be validated in all
        validating = len(data.cases) - training
        looked_at = int(np.clip(number / VALIDATIONS, min(3, validating), max(1, validating)))
        interval = math.ceil(max(1.0, epochs * looked_at / number))
        ids = {"epochs": epochs, "steps_per_epoch": each, "val_interval": interval, "patience": max(40, epochs // 2)}
        ids |= {"val_cases": looked_at if looked_at < validating else None}
        ids |= {"learning_rate": 0.002 if data.images else 0.006}
        value = f"{epochs} epochs of {each or max(1, training // batch)} steps, validated every {interval}"
        reason = f"what {self.machine.hours:g} h on {self.machine.cores} cores allow, at most {STEPS} steps an hour"
        return Choice("length", value, reason, OURS, ids)


def _round(spacing: np.ndarray) -> list[float]:
    return [float(f"{step:.3g}") for step in spacing]


def _by(values: Any) -> str:
    return " x ".join(f"{value:g}" for value in values)
