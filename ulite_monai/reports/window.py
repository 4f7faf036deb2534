"""Which intensities a picture shows as black and white."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ulite_monai.reports.planes import Plane

__all__ = ["grey_window", "windowed"]

ALL_BUT_OUTLIERS, MOST_OF_A_TISSUE = (0.5, 99.5), (5, 95)  # percentiles
LEAST_CONTRAST = 0.2  # of the whole range, beside an even tissue's
SAMPLES = 1_000_000  # enough for percentiles


def grey_window(planes: Sequence[Plane]) -> tuple[float, float]:
    """The intensities that become black and white, the same in all planes.

    Robust percentiles, narrowed to the labelled tissue's own range and as much on both sides: in a CT, air and bone
    would leave an organ and its neighbours the same grey. A photograph (colour, uint8) is shown as it is.
    """
    if planes[0].image.ndim == 3 and planes[0].image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = _percentiles([plane.image for plane in planes], ALL_BUT_OUTLIERS) or (0.0, 1.0)
    inside = _percentiles([plane.image[plane.mask > 0] for plane in planes], MOST_OF_A_TISSUE)
    if inside is not None:
        border = max(inside[1] - inside[0], LEAST_CONTRAST * (high - low))
        low, high = max(low, inside[0] - border), min(high, inside[1] + border)
    return low, high if high > low else low + 1


def _percentiles(parts: Sequence[np.ndarray], percentiles: tuple[float, float]) -> tuple[float, float] | None:
    values = np.concatenate([part[np.isfinite(part)].ravel() for part in parts])
    if values.size == 0:
        return None
    low, high = np.percentile(values[:: values.size // SAMPLES + 1], percentiles)
    return float(low), float(high)


def windowed(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """The image from 0, black, to 1, white; what is not a number is black."""
    low, high = window
    return np.nan_to_num((np.clip(image.astype(np.float64), low, high) - low) / (high - low))
