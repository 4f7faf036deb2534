"""Boxes around the hippocampi of a head, in its pose: where they lie, cut out of it, and put back onto its grid."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

__all__ = ["Box", "fine_mean", "upright", "with_axis_at"]


@dataclass(frozen=True)
class Box:
    """A grid of its own in a head.

    Attributes:
        affine: 4x4, from its voxels to RAS mm, of axes at right angles.
        shape: (i, j, k).
    """

    affine: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def around(cls, centre: np.ndarray, axes: np.ndarray, shape: tuple[int, ...], spacing: np.ndarray) -> Box:
        """The box with its middle at a place in RAS mm, and unit vectors along its axes in the columns of `axes`."""
        steps = axes * spacing
        origin = centre - steps @ ((np.asarray(shape) - 1) / 2)
        return cls(np.block([[steps, origin[:, None]], [np.zeros((1, 3)), 1]]), tuple(shape))

    @cached_property
    def corners(self) -> np.ndarray:
        """The outer corners in RAS mm, shape (8, 3)."""
        ends = np.array(list(itertools.product(*[(-0.5, n - 0.5) for n in self.shape])))
        return ends @ self.affine[:3, :3].T + self.affine[:3, 3]

    def within(self, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """The part of another grid that holds the box; empty where they are apart."""
        inverse = np.linalg.inv(affine)
        indices = self.corners @ inverse[:3, :3].T + inverse[:3, 3]
        first = np.clip(np.floor(indices.min(0)).astype(int), 0, shape)
        last = np.clip(np.ceil(indices.max(0)).astype(int) + 1, 0, shape)
        return tuple(slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))

    def cut(self, array: np.ndarray, affine: np.ndarray) -> np.ndarray:
        """What a volume shows in the box, float32; its border's values where it ends within the box.

        Args:
            array: (i, j, k).
            affine: 4x4, from its voxels to RAS mm.
        """
        return fine_mean(array, np.linalg.inv(affine) @ self.affine, self.shape, mode="nearest")

    def put_back(self, values: np.ndarray, affine: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
        """Values of the box's voxels on a part of a volume's grid, float32; 0 outside of the box.

        Args:
            values: of the box's shape.
            affine: 4x4, from the volume's voxels to RAS mm.
            part: as `within` gives it.
        """
        start = np.eye(4)
        start[:3, 3] = [along.start for along in part]
        shape = tuple(along.stop - along.start for along in part)
        return fine_mean(values, np.linalg.inv(self.affine) @ affine @ start, shape, mode="constant")


def fine_mean(values: np.ndarray, to_values: np.ndarray, shape: tuple[int, ...], mode: str) -> np.ndarray:
    """Values on another grid, interpolated linearly; the mean of several points where its voxels are larger.

    Args:
        values: (i, j, k).
        to_values: 4x4, from the other grid's voxels to those of `values`.
        shape: of the other grid.
        mode: what lies outside: scipy's "nearest" or "constant" (0).
    """
    counts = np.maximum(np.round(np.linalg.norm(to_values[:3, :3], axis=0)), 1).astype(int)
    at = to_values[:3, :3] @ np.indices(shape).reshape(3, -1) + to_values[:3, 3:]
    mean = np.zeros(at.shape[1], np.float32)
    for point in itertools.product(*[(np.arange(n) + 0.5) / n - 0.5 for n in counts]):
        place = at + (to_values[:3, :3] @ point)[:, None]
        mean += ndimage.map_coordinates(values, place, np.float32, order=1, mode=mode)
    return (mean / np.prod(counts)).reshape(shape)


def upright(to_right: np.ndarray) -> np.ndarray:
    """Unit vectors to a head's right, front and top, in the columns, of which the first is known.

    Args:
        to_right: from the left hippocampus to the right one, in RAS mm. The top is the header's as far as it allows.
    """
    right = to_right / np.linalg.norm(to_right)
    front = np.cross([0.0, 0.0, 1.0], right)
    front /= np.linalg.norm(front)
    return np.stack([right, front, np.cross(right, front)], axis=1)


def with_axis_at(to_right: np.ndarray, forward: np.ndarray, pitch: float) -> np.ndarray:
    """As `upright`, but for the top: so that an axis of the head points as far upwards from its front as it should.

    Args:
        to_right: as in `upright`.
        forward: the axis, in RAS mm.
        pitch: degrees, above the front.
    """
    right = to_right / np.linalg.norm(to_right)
    along = forward - (forward @ right) * right
    along /= np.linalg.norm(along)
    across = np.cross(right, along)
    angle = np.radians(pitch)
    front = np.cos(angle) * along - np.sin(angle) * across
    return np.stack([right, front, np.cross(right, front)], axis=1)
