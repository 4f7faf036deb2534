"""A label map of a simple head, with FreeSurfer's values."""

import numpy as np
import torch
from monai.data import MetaTensor

SHAPE = (84, 108, 92)
CENTRE = np.array([5.0, -12.0, 20.0])  # of the head, mm
LEFT, RIGHT = np.array([-28.0, -8.0, -12.0]), np.array([27.0, -8.0, -12.0])  # the hippocampi, from the centre


def head_map(spacing: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Label map (int16, RAS order) and affine: nested ellipsoids, the right hippocampus half as large as the left."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = CENTRE - spacing * (np.array(SHAPE) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    place = grid @ affine[:3, :3].T + affine[:3, 3] - CENTRE

    def within(radii: tuple[float, float, float], middle: np.ndarray | tuple = (0, 0, 0)) -> np.ndarray:
        return (((place - middle) / radii) ** 2).sum(-1) < 1

    labels = np.zeros(SHAPE, np.int16)
    labels[within((28, 28, 40), (0, 0, -56))] = 507  # a neck
    for value, radii in ((511, (80, 98, 86)), (516, (76, 94, 82)), (515, (74, 92, 80)), (24, (70, 88, 76))):
        labels[within(radii)] = value
    brain, white = within((66, 84, 70)), within((58, 76, 62))
    left = place[..., 0] < 0
    for value, side in ((3, left), (42, ~left)):
        labels[brain & side] = value
        labels[white & side] = value - 1
    labels[within((12, 12, 36), (0, -12, -50))] = 16
    labels[within((5, 5, 5), (0, -77, 20))] = 514  # a sinus
    labels[within((3, 3, 3), (20, 0, -86))] = 514  # and a vein of the neck
    labels[within((8, 18, 8), LEFT)] = 17
    labels[within((6, 15, 6), RIGHT)] = 53
    return labels, affine


def as_item(labels: np.ndarray, affine: np.ndarray) -> dict:
    """The map as an entry of a MONAI data list that was loaded."""
    return {"label": MetaTensor(torch.from_numpy(labels.astype(np.float32))[None], affine=torch.from_numpy(affine))}
