"""Masks of a MONAI pipeline to files on exactly the input's grid."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from ulite_monai.errors import InputError
from ulite_monai.io.cases import IMAGE_SUFFIXES, stem
from ulite_monai.io.coding import coded_labels
from ulite_monai.io.images import write_mask
from ulite_monai.io.references import referred_series
from ulite_monai.io.replaceable import require_replaceable
from ulite_monai.io.volume import Volume
from ulite_monai.io.write_nifti import GEOMETRY_FIELDS, write_label_map

__all__ = ["SaveSegmentationd", "source_grid"]

logger = logging.getLogger(__name__)


class SaveSegmentationd(SaveImaged):
    """Write each label map to `<output_dir>/<case id>.nii.gz`, `.png` for a 2D image, or as DICOM SEG, atomically.

    Args:
        keys: label maps, MetaTensors of shape `(1, *spatial)` that were inverted to the input's grid.
        output_dir: folder to write to; made if needed.
        format: "nifti", or for DICOM series "dicom-seg" (`<case id>.seg.dcm`) or "both".
        labels: the classes' names, in the order of the label values 1, 2, ...; needed for DICOM SEG.
        metadata: the bundle's, for the labels' codes and the algorithm's name and version.
        image_key: where the image is that a mask without meta (a plain tensor, on the image's grid) belongs to.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.

    Raises:
        InputError: When a mask isn't on its input's grid, or can't be written.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        format: Literal["nifti", "dicom-seg", "both"] = "nifti",
        labels: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, output_dir=output_dir, print_log=False, allow_missing_keys=allow_missing_keys)
        if format not in ("nifti", "dicom-seg", "both"):
            raise InputError(f"format must be nifti, dicom-seg or both, got {format!r}.")
        self.output_dir = Path(output_dir)
        self.format = format
        self.labels = labels
        self.metadata = metadata or {}
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes the masks in `data` and returns it unchanged; `case_id` in `data` names the file where given."""
        for key in self.key_iterator(data):
            mask = data[key]
            if "filename_or_obj" not in getattr(mask, "meta", {}):
                mask = MetaTensor(mask, meta=data[self.image_key].meta)
            source = Path(str(mask.meta["filename_or_obj"]))
            path = self.output_dir / str(data.get("case_id") or stem(source))
            array = np.asarray(torch.as_tensor(mask[0]).cpu())
            grid = source_grid(mask.meta)
            _require_same_grid(array, np.asarray(mask.affine, dtype=np.float64), grid, path)
            if source.name.lower().endswith(IMAGE_SUFFIXES):
                path = path.with_name(f"{path.name}.png")
                require_replaceable(path)
                write_mask(array, path, max(len(self.labels), 1))
            else:
                self._write_volume(array, grid, path, str(mask.meta["filename_or_obj"]))
            logger.info("%s: %d pixels labelled", path, int((array > 0).sum()))
        return dict(data)

    def _write_volume(self, array: np.ndarray, grid: Volume, path: Path, reference: str) -> None:
        nifti, seg = (path.with_name(f"{path.name}{suffix}") for suffix in (".nii.gz", ".seg.dcm"))
        series = None if self.format == "nifti" else referred_series(reference)
        labels = coded_labels(self.metadata, self.labels)
        algorithm = self.metadata.get("name", "U-Lite"), self.metadata.get("version", "unknown")
        if series is None and self.format == "dicom-seg":
            raise InputError(f"{reference}: a DICOM SEG needs a DICOM series; give --format nifti.")
        if series is not None:
            from ulite_monai.io.dicom_seg import require_encodable, write_dicom_seg

            require_replaceable(seg)
            require_encodable(series, labels, *algorithm)
        if self.format != "dicom-seg":
            require_replaceable(nifti)
            write_label_map(array, grid, nifti)
        if series is not None:
            for note in write_dicom_seg(array, series, labels, seg, *algorithm):
                logger.warning("warning: %s", note)


def source_grid(meta: Mapping[Any, Any]) -> Volume:
    """The grid that a MetaTensor was loaded on, as a Volume without values.

    Args:
        meta: of a MetaTensor that `LoadVolumed` or MONAI's `LoadImaged` read.
    """
    shape = tuple(int(n) for n in np.asarray(meta["spatial_shape"]))
    header = None
    if all(name in meta for name in GEOMETRY_FIELDS):
        header = nib.Nifti1Header()
        for name in (*GEOMETRY_FIELDS, "pixdim"):
            header[name] = np.asarray(meta[name])
    affine = np.asarray(meta.get("original_affine", np.eye(4)), dtype=np.float64)  # a 2D image has none
    return Volume(np.broadcast_to(np.uint8(0), shape), affine, Path(str(meta["filename_or_obj"])), header)


def _require_same_grid(array: np.ndarray, affine: np.ndarray, grid: Volume, path: Path) -> None:
    if array.shape != grid.array.shape or not np.allclose(affine, grid.affine, atol=1e-4):
        raise InputError(
            f"{path}: not written, the mask of shape {array.shape} isn't on the grid {grid.array.shape} of "
            f"{grid.source}; the bundle's post-processing must invert its preprocessing."
        )
