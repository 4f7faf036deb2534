"""Masks of a MONAI pipeline to files on exactly the input's grid."""

from __future__ import annotations

import functools
import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from ulite_monai.errors import InputError
from ulite_monai.io.cases import IMAGE_SUFFIXES, first_image, stem
from ulite_monai.io.nifti_header import read_geometry
from ulite_monai.io.output_folder import OutputFolder, require_apart
from ulite_monai.io.references import referred_series
from ulite_monai.io.volume import SAME_GRID, Volume
from ulite_monai.io.write_masks import FORMATS, Format, mask_paths, require_writable, write_masks

__all__ = ["SaveSegmentationd", "source_grid"]

logger = logging.getLogger(__name__)


class SaveSegmentationd(SaveImaged):
    """Write each label map to `<output_dir>/<case id>.nii.gz`, `.png` for a 2D image, or as DICOM SEG, atomically.

    `predictions.json` beside the masks records them, so that they may be replaced as long as nobody changed them.

    Args:
        keys: label maps, MetaTensors of shape `(1, *spatial)` that were inverted to the input's grid.
        output_dir: folder to write to; made if needed.
        format: "nifti", or for DICOM series "dicom-seg" (`<case id>.seg.dcm`) or "both".
        labels: the classes' names, in the order of the label values 1, 2, ...; needed for DICOM SEG.
        metadata: the bundle's, for the labels' codes and the algorithm's name and version.
        overwrite: replace files that this program didn't write, too. Defaults to False.
        image_key: where the image is that a mask without meta (a plain tensor, on the image's grid) belongs to.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.

    Raises:
        InputError: When a mask isn't on its input's grid, or can't be written, or a file is somebody else's.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        format: Format = "nifti",
        labels: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        image_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, output_dir=output_dir, print_log=False, allow_missing_keys=allow_missing_keys)
        if format not in FORMATS:
            raise InputError(f"format must be nifti, dicom-seg or both, got {format!r}.")
        self.output_dir = Path(output_dir)
        self.format = format
        self.labels = labels
        self.metadata = metadata or {}
        self.overwrite = overwrite
        self.image_key = image_key
        self._cases: dict[str, dict[str, Any]] = {}

    @functools.cached_property
    def outputs(self) -> OutputFolder:
        """The folder, looked at when it is first needed."""
        return OutputFolder(self.output_dir, self.overwrite)

    def require_apart(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Check that no two entries of a data list write the same file, and none writes over an image.

        Raises:
            InputError: It names the file and who would write it.
        """
        paths_of = {f"{self._place(item).name} ({first_image(item)})": self._paths(item).values() for item in items}
        require_apart(paths_of, [first_image(item) for item in items])

    def require_writable(self, item: Mapping[str, Any]) -> None:
        """Check, before the network runs, that the mask of an entry of a data list can be written.

        Raises:
            InputError: When it can't.
        """
        image = first_image(item)
        require_writable(self.format, _is_image(image), referred_series(image), self.labels, self.metadata)
        self.outputs.require_free(self._paths(item).values())

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes the masks in `data` and returns it unchanged; `case_id` in `data` names the file where given.

        What the reader of the image had to warn of is logged.
        """
        for key in self.key_iterator(data):
            mask = data[key]
            if "filename_or_obj" not in getattr(mask, "meta", {}):
                mask = MetaTensor(mask, meta=data[self.image_key].meta)
            for warning in str(mask.meta.get("warnings", "")).splitlines():
                logger.warning("warning: %s", warning)
            source = str(mask.meta["filename_or_obj"])
            item = {"image": source, "case_id": data.get("case_id")}
            self.require_writable(item)
            paths = self._paths(item)
            array = np.asarray(torch.as_tensor(mask[0]).cpu())
            grid = source_grid(mask.meta)
            _require_same_grid(array, np.asarray(mask.affine, dtype=np.float64), grid, next(iter(paths.values())))
            with self.outputs.writing(paths.values()):
                notes = write_masks(array, grid, paths, self.labels, self.metadata, referred_series(source))
            for note in notes:
                logger.warning("warning: %s", note)
            for path in paths.values():
                logger.info("%s: %d pixels labelled", path, int((array > 0).sum()))
            self._record(item, paths)
        return dict(data)

    def _place(self, item: Mapping[str, Any]) -> Path:
        return self.output_dir / str(item.get("case_id") or stem(Path(first_image(item))))

    def _paths(self, item: Mapping[str, Any]) -> dict[str, Path]:
        image = first_image(item)
        return mask_paths(self._place(item), self.format, _is_image(image), referred_series(image))

    def _record(self, item: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
        name = self._place(item).relative_to(self.output_dir).as_posix()
        self._cases[name] = {"id": name, "input": item["image"], "outputs": [str(path) for path in paths.values()]}
        maker = {part: self.metadata.get(part) for part in ("name", "version")}
        self.outputs.write_record({"algorithm": maker, "cases": list(self._cases.values())})


def _is_image(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES)


def source_grid(meta: Mapping[Any, Any]) -> Volume:
    """The grid that a MetaTensor was loaded on, as a Volume without values.

    Args:
        meta: of a MetaTensor that `LoadVolumed` or MONAI's `LoadImaged` read; of the latter the affine alone counts.
    """
    shape = tuple(int(n) for n in np.asarray(meta["spatial_shape"]))
    header = read_geometry(meta["nifti_header"]) if "nifti_header" in meta else None
    affine = np.asarray(meta.get("original_affine", np.eye(4)), dtype=np.float64)  # a 2D image has none
    return Volume(np.broadcast_to(np.uint8(0), shape), affine, Path(str(meta["filename_or_obj"])), header)


def _require_same_grid(array: np.ndarray, affine: np.ndarray, grid: Volume, path: Path) -> None:
    if array.shape != grid.array.shape or not np.allclose(
        affine, grid.affine, rtol=0, atol=SAME_GRID * min(grid.spacing)
    ):
        raise InputError(
            f"{path}: not written, the mask of shape {array.shape} isn't on the grid {grid.array.shape} of "
            f"{grid.source}; the bundle's post-processing must invert its preprocessing."
        )
