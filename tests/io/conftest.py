"""Small DICOM series written by the tests, and a comparison of geometry that doesn't depend on axis order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SECRET = "Secret^Patient"
OBLIQUE = nib.eulerangles.euler2mat(0.2, -0.1, 0.3)


def affine_from(directions: np.ndarray, spacing: Sequence[float], origin: Sequence[float] = (-31.5, 12.25, 40.0)):
    """4x4 RAS affine from 3 direction columns, spacing and origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


AXIAL_LPS = affine_from(np.diag([-1.0, -1.0, 1.0]), (0.8, 0.5, 2.5))


def volume_array(shape: Sequence[int] = (6, 5, 4)) -> np.ndarray:
    """Values that are all different, int16."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def make_slice(array: np.ndarray, affine: np.ndarray, k: int):
    """A dataset of MR Image Storage for slice k of a volume, as a scanner would fill it."""
    pydicom = pytest.importorskip("pydicom")
    uid = pydicom.uid
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    ds = pydicom.Dataset()
    ds.SOPClassUID = uid.MRImageStorage
    ds.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.826.0.1.3680043.8.498.4", ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = SECRET, "SecretId", "19010203", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20200101", "101010", "1", ""
    ds.ReferringPhysicianName, ds.Manufacturer = "", "Nobody"
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "MR", "t1 test", 7, k + 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ImageOrientationPatient = [f"{x:.12g}"[:16] for x in (*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1]))]
    ds.ImagePositionPatient = [f"{x:.10g}" for x in lps[:3, 3] + k * lps[:3, 2]]
    ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    ds.SliceThickness = float(spacing[2])
    ds.Rows, ds.Columns = array.shape[1], array.shape[0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(array[:, :, k].T).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


Change = Callable[..., None]


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a volume as a series of single-frame files and returns their folder.

    `change(dataset, k)` alters each slice before it is written; file names don't follow the slices' order.
    """

    def write(
        array: np.ndarray | None = None,
        affine: np.ndarray = AXIAL_LPS,
        change: Change | None = None,
        folder: str = "series",
        prefix: str = "",
    ) -> Path:
        array = volume_array() if array is None else array
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for k in range(array.shape[2]):
            ds = make_slice(array, affine, k)
            if change is not None:
                change(ds, k)
            ds.save_as(place / f"{prefix}{(k * 7) % 11:02d}_{k}", enforce_file_format=True)
        return place

    return write


def make_enhanced(array: np.ndarray, affine: np.ndarray, frames: Sequence[int], number: int = 1):
    """A dataset of Enhanced MR Image Storage that holds the slices `frames` of a volume."""
    pydicom = pytest.importorskip("pydicom")
    slices = [make_slice(array, affine, k) for k in frames]
    ds = make_slice(array, affine, frames[0])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedMRImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.6.{number}"
    ds.InstanceNumber, ds.NumberOfFrames = number, len(slices)
    ds.PixelData = b"".join(one.PixelData for one in slices)
    ds.PerFrameFunctionalGroupsSequence = []
    for one in slices:
        groups, position, orientation, measures = (pydicom.Dataset() for _ in range(4))
        position.ImagePositionPatient = one.ImagePositionPatient
        orientation.ImageOrientationPatient = one.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = one.PixelSpacing, one.SliceThickness
        groups.PlanePositionSequence, groups.PlaneOrientationSequence = [position], [orientation]
        groups.PixelMeasuresSequence = [measures]
        ds.PerFrameFunctionalGroupsSequence.append(groups)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness
    return ds


@pytest.fixture
def write_enhanced(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a volume as multi-frame files, which hold the slices that `files` lists."""

    def write(
        files: Sequence[Sequence[int]],
        array: np.ndarray | None = None,
        affine: np.ndarray = AXIAL_LPS,
        folder: str = "e",
    ) -> Path:
        place = tmp_path / folder
        place.mkdir()
        for number, frames in enumerate(files, 1):
            dataset = make_enhanced(volume_array() if array is None else array, affine, frames, number)
            dataset.save_as(place / f"part{number}", enforce_file_format=True)
        return place

    return write


@pytest.fixture
def same_place() -> Callable[..., None]:
    """A function that asserts that two (array, affine) put the same values at the same places."""

    def check(
        array: np.ndarray, affine: np.ndarray, other: np.ndarray, other_affine: np.ndarray, millimetres: float = 1e-4
    ) -> None:
        one, two = (
            nib.as_closest_canonical(nib.Nifti1Image(np.asarray(values, dtype=np.float64), matrix))
            for values, matrix in ((array, affine), (other, other_affine))
        )
        assert one.shape == two.shape
        corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [
            *np.subtract(one.shape, 1),
            1,
        ]
        assert np.abs(corners @ (one.affine - two.affine).T).max() < millimetres
        np.testing.assert_allclose(one.get_fdata(), two.get_fdata(), rtol=1e-6, atol=1e-4)

    return check
