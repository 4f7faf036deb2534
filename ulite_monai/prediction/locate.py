"""Where the hippocampi are in a whole head, and how much its skull encloses, from what the locator sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from scipy import ndimage

from ulite_monai.io.grids import voxels_within
from ulite_monai.io.parts import largest_part
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["HeadPlaces", "head_places", "locate"]

LEFT, RIGHT, SPACE = 1, 2, 3  # channels, after the background's
NEAR = 24.0  # mm around a hippocampus's place, in which its probability counts
BALL = 4 / 3 * np.pi * 1.4**3  # mL, of a radius of 14 mm, that the locator was trained to find
STEPS = 5  # of the mean towards the place
LEAST_SPACE = 100.0  # mL, with which a volume may show the temporal lobes; a box around one hippocampus has less
DISTANCES = (30.0, 90.0)  # mm between the hippocampi, of heads and of what isn't one
CUT = 0.02  # of the space's surface, beyond which the field of view is said to cut it
APART = 8.0  # mm between a place and its mirror image, beyond which it is uncertain
UNSURE = 0.65  # confidence, below which there is no head


@dataclass(frozen=True)
class HeadPlaces:
    """What a locator finds in a head.

    Attributes:
        left, right: centres of the hippocampi, shape (3,), RAS millimetres; the header says which side is which.
        intracranial_ml: the volume within the skull, without the canal of the spine.
        confidence: of the less certain of the two places, in [0, 1]; see `head_places`.
        warnings: why a place is uncertain, or the volume within the skull too small, a sentence each.
    """

    left: np.ndarray
    right: np.ndarray
    intracranial_ml: float
    confidence: float
    warnings: list[str] = field(default_factory=list)


def locate(volume: Volume, locator: Segmenter) -> HeadPlaces:
    """Find the hippocampi and the intracranial space in a volume: the mean of what it shows and its mirror image.

    Args:
        volume: of a head, of any contrast, orientation and spacing.
        locator: of the bundle `head_locator`.

    Raises:
        Refused: When it shows no head, or none with both hippocampi.
    """
    mirrored, back = _mirrored(volume)
    one, other = _places_of(volume, locator), _places_of(mirrored, locator)
    left, right = (back[:3, :3] @ place + back[:3, 3] for place in (other.right, other.left))
    apart = max(float(np.linalg.norm(one.left - left)), float(np.linalg.norm(one.right - right)))
    warnings = list(one.warnings)
    if apart > APART:
        warnings.append(f"the places of the hippocampi are uncertain: {apart:.0f} mm off in the mirror image.")
    return HeadPlaces(
        left=(one.left + left) / 2,
        right=(one.right + right) / 2,
        intracranial_ml=(one.intracranial_ml + other.intracranial_ml) / 2,
        confidence=min(one.confidence, other.confidence),
        warnings=warnings,
    )


def _places_of(volume: Volume, locator: Segmenter) -> HeadPlaces:
    data, _ = locator.before_postprocessing({"image": [volume]})
    logits: MetaTensor = data["pred"]
    affine = data["image"].affine.double().numpy()
    probabilities = logits.as_tensor().softmax(0).numpy()
    return head_places(
        probabilities, affine, voxels_within(affine, probabilities.shape[1:], volume.affine, volume.array.shape)
    )


def _mirrored(volume: Volume) -> tuple[Volume, np.ndarray]:
    """The voxels in the reverse order from right to left, and the way of a place in mm back to where it was."""
    axis = int(np.argmax(nib.orientations.io_orientation(volume.affine)[:, 0] == 0))
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, volume.array.shape[axis] - 1
    return (
        replace(volume, array=np.flip(volume.array, axis).copy()),
        volume.affine @ turn @ np.linalg.inv(volume.affine),
    )


def head_places(probabilities: np.ndarray, affine: np.ndarray, within: np.ndarray | None = None) -> HeadPlaces:
    """The places that the locator's probabilities tell.

    A hippocampus is at the centre of mass of its probability, around where most of it is. The confidence is how much
    of its class's probability lies there, as a share of all of it in the volume or, if that is less, of the ball
    that the class was in training.

    Args:
        probabilities: of background, left, right, and the rest of the intracranial space: float, (4, x, y, z).
        affine: 4x4, from voxels to RAS mm.
        within: bool, (x, y, z): the voxels that lie in the field of view; None for all.

    Raises:
        Refused: When there is no head, or not both hippocampi.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    field_of_view = np.ones(probabilities.shape[1:], bool) if within is None else within
    space = probabilities[1:].sum(0) * field_of_view
    space = space * ndimage.binary_dilation(largest_part(space > 0.5))  # the rest of its probability lies next to it
    millilitres = float(space.sum()) * voxel_ml
    if millilitres < LEAST_SPACE:
        raise Refused(f"it shows no head: {millilitres:.0f} mL of what it shows looks like the inside of a skull")
    (left, sure_left), (right, sure_right) = (_place(probabilities[side], affine, voxel_ml) for side in (LEFT, RIGHT))
    confidence = min(sure_left, sure_right)
    if confidence < UNSURE:
        side = "left" if sure_left < sure_right else "right"
        raise Refused(f"no head with both hippocampi was found in it: the {side} one isn't to be seen")
    distance = float(np.linalg.norm(left - right))
    if not DISTANCES[0] < distance < DISTANCES[1]:
        raise Refused(f"no head was found in it: what looks like the hippocampi is {distance:.0f} mm apart")
    warnings = []
    share = _cut_share(space, field_of_view)
    if share > CUT:
        warnings.append(
            f"the field of view cuts {100 * share:.0f} % of the intracranial space's surface: its volume is too small."
        )
    return HeadPlaces(left, right, millilitres, confidence, warnings)


def _place(probability: np.ndarray, affine: np.ndarray, voxel_ml: float) -> tuple[np.ndarray, float]:
    """The centre in mm of where most of a class's probability lies, and the confidence."""
    reach = NEAR / np.linalg.norm(affine[:3, :3], axis=0)
    smooth = ndimage.gaussian_filter(probability, reach / 2, mode="constant", truncate=2)
    densest = np.array(np.unravel_index(smooth.argmax(), smooth.shape))
    first = np.maximum(densest - np.ceil(2 * reach).astype(int), 0)
    last = densest + np.ceil(2 * reach).astype(int)
    around = probability[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))]
    mm = (np.moveaxis(np.indices(around.shape), 0, -1) + first) @ affine[:3, :3].T + affine[:3, 3]
    place = affine[:3, :3] @ densest + affine[:3, 3]
    for _ in range(STEPS):
        near = around * (np.linalg.norm(mm - place, axis=-1) < NEAR)
        place = (mm * near[..., None]).sum((0, 1, 2)) / max(float(near.sum()), 1e-12)
    found = float(near.sum()) * voxel_ml
    return place, min(1.0, found / max(float(probability.sum()) * voxel_ml, BALL))


def _cut_share(space: np.ndarray, field_of_view: np.ndarray) -> float:
    """The share of the space's surface that lies at the border of the field of view."""
    inside = space > 0.5
    at_border = inside & field_of_view & ~ndimage.binary_erosion(field_of_view)
    surface = inside & ~ndimage.binary_erosion(inside)
    return float(at_border.sum() / max(surface.sum(), 1))
