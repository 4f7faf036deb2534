"""Volumes into a MONAI pipeline, read by `ulite_monai.io`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.references import read_references
from ulite_monai.io.volume import Volume, require_same_grid

__all__ = ["LoadVolumed"]


class LoadVolumed(LoadImaged):
    """Load NIfTI, NRRD, MetaImage or DICOM volumes, in RAS millimetres, with the channel first.

    Args:
        keys: entries that hold a path, `<folder>#<series id>` for a DICOM series, `<file>#<number>` for a channel of a
            4D NIfTI file, a `Volume` that was read before, or a list of them, one per channel.
        on_nonfinite: "error" refuses NaN and infinite voxels; "replace" puts the finite minimum there.
        resample_tilt: resample a DICOM series with a gantry tilt instead of refusing it. Defaults to False.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.

    Raises:
        InputError: When a file can't be read, or channels lie on different grids.
    """

    def __init__(
        self,
        keys: KeysCollection,
        on_nonfinite: NonFinite = "error",
        resample_tilt: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, reader="NibabelReader", allow_missing_keys=allow_missing_keys)
        self.on_nonfinite = on_nonfinite
        self.resample_tilt = resample_tilt

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """Replaces each entry by a MetaTensor, float32, shape `(channels, i, j, k)`.

        Its meta has `affine`, `original_affine`, `spatial_shape`, `filename_or_obj` and `warnings` (one text).
        """
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            entry = loaded[key]
            loaded[key] = self._load(entry if isinstance(entry, list | tuple) else [entry])
        return loaded

    def _load(self, entries: Sequence[Any]) -> MetaTensor:
        named = [str(entry) for entry in entries if not isinstance(entry, Volume)]
        read = iter(read_references(named, self.on_nonfinite, self.resample_tilt))
        volumes = [entry if isinstance(entry, Volume) else next(read) for entry in entries]
        for other in volumes[1:]:
            require_same_grid(volumes[0], other)
        array = np.stack([np.asarray(volume.array, dtype=np.float32) for volume in volumes])
        warnings = "\n".join(w for volume in volumes for w in volume.warnings)
        meta = _meta(volumes[0]) | {"filename_or_obj": _name(entries[0]), "warnings": warnings}
        return MetaTensor(torch.from_numpy(array), affine=torch.as_tensor(volumes[0].affine), meta=meta)


def _name(entry: Any) -> str:
    if not isinstance(entry, Volume):
        return str(entry)
    return entry.source.id if isinstance(entry.source, DicomSeries) else str(entry.source)


def _meta(volume: Volume) -> dict[str, Any]:
    return {
        "original_affine": volume.affine.copy(),
        "spatial_shape": np.asarray(volume.array.shape),
        "original_channel_dim": 0,
        "space": "RAS",
    }
