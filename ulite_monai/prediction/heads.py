"""Both hippocampi of a whole head: a locator finds them, the bundle's network segments a box around each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from ulite_monai.engines.weights import load_weights, weights_sha256
from ulite_monai.io.grids import voxels_within
from ulite_monai.io.parts import largest_part
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.boxes import Box, upright, with_axis_at
from ulite_monai.prediction.locate import HeadPlaces, locate
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.heads import SIDES

__all__ = ["HeadCascade", "SegmentedHead"]

PASSES = 4  # at most
AT_REST = 1.0  # mm, that the corners of a box move by at most when its place is final
LEAST = 0.5  # mL of a mask by which a box may be moved
FAR = 15.0  # mm from where the locator saw it, beyond which a place is uncertain
MARGIN = 3  # voxels around a mask that the field of view should hold


@dataclass(frozen=True)
class SegmentedHead:
    """What became of a head.

    Attributes:
        mask: label map on the head's grid, uint8: the classes of the left hippocampus, then those of the right one.
        labels: their names, for the values 1, 2, ...
        boxes: around the left and the right hippocampus.
        intracranial_ml: the volume within the skull.
        warnings: why it shouldn't be relied on, one sentence each.
        inference: how it was done, in words.
        probabilities: float32, (background and classes, i, j, k); None unless asked for.
    """

    mask: np.ndarray
    labels: list[str]
    boxes: Sequence[Box]
    intracranial_ml: float
    warnings: list[str]
    inference: str
    probabilities: np.ndarray | None = None


@dataclass
class HeadCascade:
    """Places a box around each hippocampus as the network's training data have it, and segments what is in it.

    The first place is the locator's. The masks then say where the hippocampi lie and how the head is held, and the
    boxes move and turn, and are cut out anew, until they are at rest. So the masks depend little on the locator, and
    on how the head lies in the scanner.

    Args:
        locator: the locator's configuration, as `head_locator` has its `inference.json`.
        ckpt: the locator's weights.
        box_mm: extent of a box from right to left, front to back, head to foot.
        centre_mm: of a hippocampus's mask from its box's middle, in mm to the right, the front and the top.
        pitch: degrees by which a hippocampus points upwards from the front.
        mirrored: the side that is shown to the network as its mirror image, because it knows the other one.
        volume_ml: the least and the largest hippocampus of the training data.
        spacing_mm: the largest voxel that masks can be relied on.
        ids: further ids of the locator's configuration: device, engine, ...
    """

    locator: str | Path
    ckpt: str | Path
    box_mm: Sequence[float]
    centre_mm: Sequence[float]
    pitch: float
    mirrored: str
    volume_ml: tuple[float, float]
    spacing_mm: float
    ids: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._locator: Segmenter | None = None

    @property
    def weights_sha256(self) -> str:
        """Of the locator's weights.

        Raises:
            InputError: When they are missing or damaged.
        """
        load_weights(self.ckpt)
        return weights_sha256([Path(self.ckpt)])

    def labels(self, parts: Sequence[str]) -> list[str]:
        """The names of a head's classes, if the network calls those of one hippocampus `parts`."""
        return [f"{side} {part}" for side in SIDES for part in parts]

    def segment(
        self,
        volume: Volume,
        segmenter: Segmenter,
        with_probabilities: bool = False,
        places: HeadPlaces | None = None,
    ) -> SegmentedHead:
        """Segment both hippocampi.

        Args:
            volume: of a head.
            segmenter: of a box around one hippocampus.
            with_probabilities: whether to keep those of the classes.
            places: of the hippocampi; None for those that the locator finds.

        Raises:
            Refused: When the locator finds no head in it.
        """
        places = places or locate(volume, self._loaded())
        centres = [places.left, places.right]
        boxes = self._boxes(centres, upright(places.right - places.left), segmenter)
        at_rest = False
        for number in range(1, PASSES + 1):
            found = [_segmented(volume, box, segmenter) for box in boxes]
            if min(map(_millilitres, boxes, found)) < LEAST:
                break
            moved, centres = self._moved(boxes, found, segmenter)
            at_rest = all(np.abs(a.corners - b.corners).max() < AT_REST for a, b in zip(boxes, moved, strict=True))
            if at_rest or number == PASSES:
                break
            boxes = moved
        mask, probabilities = _on_grid(volume, boxes, found, with_probabilities)
        warnings = [*places.warnings, *self._doubts(volume, places, boxes, found, centres)]
        if not at_rest:
            warnings.append("the places of the hippocampi are uncertain: their boxes don't come to rest.")
        size = "x".join(map(str, boxes[0].shape))
        inference = f"whole head, boxes of {size} around both hippocampi, pass {number}"
        names = self.labels(segmenter.labels)
        return SegmentedHead(mask, names, boxes, places.intracranial_ml, warnings, inference, probabilities)

    def _loaded(self) -> Segmenter:
        with self._turn:
            if self._locator is None:
                self._locator = Segmenter.of_file(self.locator, ckpt=Path(self.ckpt), **self.ids)
            return self._locator

    def _boxes(self, centres: Sequence[np.ndarray], pose: np.ndarray, segmenter: Segmenter) -> list[Box]:
        """Around the hippocampi's centres, with axes to the right (to the left of a mirrored one), front and top."""
        spacing = np.asarray(segmenter.settings["spacing"])
        shape = tuple(np.round(self.box_mm / spacing).astype(int).tolist())
        boxes = []
        for side, centre in zip(SIDES, centres, strict=True):
            axes = pose * [-1 if side == self.mirrored else 1, 1, 1]
            boxes.append(Box.around(centre - axes @ self.centre_mm, axes, shape, spacing))
        return boxes

    def _moved(
        self, boxes: Sequence[Box], found: Sequence[np.ndarray], segmenter: Segmenter
    ) -> tuple[list[Box], list[np.ndarray]]:
        """The boxes where the masks say that they should lie, and the masks' centres."""
        places, forward = [], np.zeros(3)
        for box, one in zip(boxes, found, strict=True):
            mm = np.argwhere(one.argmax(0)) @ box.affine[:3, :3].T + box.affine[:3, 3]
            places.append(mm.mean(0))
            axis = np.linalg.eigh(np.cov((mm - places[-1]).T))[1][:, -1]
            forward += axis * np.sign(axis @ box.affine[:3, 1])
        return self._boxes(places, with_axis_at(places[1] - places[0], forward, self.pitch), segmenter), places

    def _doubts(
        self,
        volume: Volume,
        places: HeadPlaces,
        boxes: Sequence[Box],
        found: Sequence[np.ndarray],
        centres: Sequence[np.ndarray],
    ) -> list[str]:
        """Why the masks shouldn't be relied on, one sentence each."""
        doubts = []
        if max(volume.spacing) > 1.01 * self.spacing_mm:  # as headers round it
            doubts.append(
                f"its voxels measure up to {max(volume.spacing):.3g} mm; with more than {self.spacing_mm:g} mm across "
                "the hippocampus its volume is uncertain."
            )
        for side, box, one, centre, seen in zip(SIDES, boxes, found, centres, (places.left, places.right), strict=True):
            away = float(np.linalg.norm(centre - seen))
            if away > FAR:
                doubts.append(
                    f"the place of the {side} hippocampus is uncertain: {away:.0f} mm from where it was seen."
                )
            doubts += self._doubts_of_side(volume, side, box, one)
        return doubts

    def _doubts_of_side(self, volume: Volume, side: str, box: Box, probabilities: np.ndarray) -> list[str]:
        mask, millilitres = probabilities.argmax(0) > 0, _millilitres(box, probabilities)
        if not mask.any():
            return [f"no {side} hippocampus was found."]
        doubts, (low, high) = [], self.volume_ml
        if not low <= millilitres <= high:
            size = "smaller" if millilitres < low else "larger"
            doubts.append(
                f"the {side} hippocampus is {size} than all that the network learnt from, {low:g} to {high:g} mL."
            )
        if _touches_side(mask):
            doubts.append(f"the {side} hippocampus reaches the side of its box, which may cut it.")
        within = voxels_within(box.affine, box.shape, volume.affine, volume.array.shape)
        if (ndimage.binary_dilation(mask, iterations=MARGIN) & ~within).any():
            doubts.append(f"the field of view ends at the {side} hippocampus, and may cut it.")
        return doubts


def _segmented(volume: Volume, box: Box, segmenter: Segmenter) -> np.ndarray:
    """Probabilities of the classes in a box, (classes, *its shape), without what lies apart from the largest part."""
    spacing = np.linalg.norm(box.affine[:3, :3], axis=0)
    shown = Volume(box.cut(volume.array, volume.affine), np.diag([*spacing, 1.0]), volume.source)
    probabilities = segmenter({"image": [shown]}, with_probabilities=True).probabilities
    assert probabilities is not None
    found = ndimage.binary_dilation(probabilities.argmax(0))
    others = found & ~largest_part(found)
    if others.any():
        background = np.eye(len(probabilities), 1, dtype=np.float32)[..., None, None]
        probabilities = np.where(others, background, probabilities)
    return probabilities


def _on_grid(
    volume: Volume, boxes: Sequence[Box], found: Sequence[np.ndarray], with_probabilities: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The label map on a volume's grid, and the probabilities, if wanted, of background and each side's classes."""
    classes = len(found[0]) - 1
    mask, probabilities = np.zeros(volume.array.shape, np.uint8), None
    if with_probabilities:
        probabilities = np.zeros((1 + 2 * classes, *volume.array.shape), np.float32)
        probabilities[0] = 1
    for side, (box, one) in enumerate(zip(boxes, found, strict=True)):
        part = box.within(volume.affine, volume.array.shape)
        back = np.stack([box.put_back(values, volume.affine, part) for values in one[1:]])
        labels = np.concatenate([1 - back.sum(0, keepdims=True), back]).argmax(0)
        mask[part] = np.where((labels > 0) & (mask[part] == 0), labels + side * classes, mask[part])
        if probabilities is not None:
            for number, values in enumerate(back, start=1 + side * classes):
                probabilities[number][part] = values
            probabilities[0][part] -= back.sum(0)
    return mask, probabilities


def _millilitres(box: Box, probabilities: np.ndarray) -> float:
    return float(np.count_nonzero(probabilities.argmax(0))) * abs(float(np.linalg.det(box.affine[:3, :3]))) / 1000


def _touches_side(mask: np.ndarray) -> bool:
    return any(mask.take(end, axis).any() for axis, end in itertools.product(range(3), (0, -1)))
