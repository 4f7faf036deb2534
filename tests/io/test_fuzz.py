"""Random damage to NIfTI headers and DICOM folders: a volume on the grid that the headers give, or one sentence."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.nifti import read_nifti

TRIES = int(os.environ.get("ULITE_FUZZ", "100"))
SECONDS = 10


def check_sentence(error: InputError, name: str) -> None:
    message = str(error)
    assert "\n" not in message and message.endswith(".") and name in message, message


def cut(content: bytearray, random: Random) -> None:
    del content[random.randrange(len(content)) :]


def flip_bytes(content: bytearray, random: Random, within: int) -> None:
    for _ in range(random.choice([1, 2, 8, 40])):
        content[random.randrange(min(within, len(content)))] = random.choice([0, 255, random.randrange(256)])


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_nifti(tmp_path: Path, compressed: bool) -> None:
    affine = np.diag([2.0, 2.5, 3, 1])
    values = np.random.default_rng(0).integers(-500, 3000, (9, 8, 7)).astype(np.int16)
    image = nib.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    source = tmp_path / f"source.nii{'.gz' * compressed}"
    nib.save(image, source)
    original = source.read_bytes()
    read = 0
    for seed in range(TRIES):
        random, content = Random(seed), bytearray(original)
        if random.random() < 0.2:
            cut(content, random)
        else:
            flip_bytes(content, random, len(content) if compressed else 352)
        damaged = tmp_path / f"damaged{seed}.nii{'.gz' * compressed}"
        damaged.write_bytes(content)
        start = time.monotonic()
        try:
            found = read_nifti(damaged, on_nonfinite=random.choice(["error", "replace"]))
        except InputError as error:
            check_sentence(error, damaged.name)
        else:
            read += 1
            theirs = nib.load(damaged)
            scale = {"meter": 1000.0, "micron": 0.001}.get(unit_of(theirs), 1.0)
            np.testing.assert_array_equal(found.affine, np.diag([scale] * 3 + [1]) @ theirs.affine)
            assert found.array.size == np.prod(theirs.shape) and np.isfinite(found.array).all()
        assert time.monotonic() - start < SECONDS
    assert compressed or read > TRIES // 20


def unit_of(image: nib.Nifti1Image) -> str:
    try:
        return image.header.get_xyzt_units()[0]
    except KeyError:
        return "unknown"


GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
PIXELS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames")
OTHERS = ("SeriesInstanceUID", "SOPInstanceUID", "RescaleSlope", "InstanceNumber", "SeriesNumber", "Modality")
VALUES = {
    **dict.fromkeys(GEOMETRY, ([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], [-1, 0], [float("1e30")] * 3, None)),
    **dict.fromkeys(PIXELS, (0, 1, 3, 7, 16, 60000)),
    **dict.fromkeys(OTHERS, ("1", "0", "1.2.3", None)),
}


def damage_folder(folder: Path, random: Random) -> None:
    pydicom = pytest.importorskip("pydicom", "3.0")
    for _ in range(random.choice([1, 1, 2, 4])):
        files = sorted(folder.rglob("*"))
        if not files:
            return
        file, kind = (
            random.choice(files),
            random.choice(["field", "field", "field", "bytes", "cut", "drop", "double", "mix"]),
        )
        if kind == "drop":
            file.unlink()
        elif kind == "double":
            shutil.copy(file, file.with_name(f"{file.name}_{random.randrange(99)}"))
        elif kind == "mix":
            file.write_bytes(random.choice(files).read_bytes())
        elif kind in ("bytes", "cut"):
            content = bytearray(file.read_bytes())
            if content:
                flip_bytes(content, random, len(content)) if kind == "bytes" else cut(content, random)
            file.write_bytes(content)
        else:
            change_field(pydicom, file, random)


def change_field(pydicom, file: Path, random: Random) -> None:
    keyword = random.choice(list(VALUES))
    value = random.choice(VALUES[keyword])
    try:
        ds = pydicom.dcmread(file)
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
        ds.save_as(file)
    except Exception:  # what can't be changed stays as it is
        return


@pytest.mark.filterwarnings("ignore")
def test_damaged_dicom_folders(write_series, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", "3.0")
    from ulite_monai.io.dicom.tree import find_series
    from ulite_monai.io.dicom.volume import read_series

    values = np.random.default_rng(0).integers(-500, 3000, (9, 8, 6)).astype(np.int16)
    original = write_series(values)
    read = refused = 0
    for seed in range(TRIES):
        folder = tmp_path / f"try{seed}"
        shutil.copytree(original, folder)
        damage_folder(folder, Random(seed))
        start = time.monotonic()
        for series in find_series(folder).series:
            try:
                found = read_series(series)
            except InputError as error:
                refused += 1
                check_sentence(error, series.id)
                continue
            read += 1
            assert found.array.shape == series.shape and np.isfinite(found.affine).all()
            for k, one in enumerate(series.slices):
                ds = pydicom.dcmread(one.file, force=True)
                ds.PhotometricInterpretation, ds.SamplesPerPixel = (
                    "MONOCHROME2",
                    1,
                )  # pydicom wants them; grey needs none
                place = np.array(ds.ImagePositionPatient, dtype=float) * [-1, -1, 1]
                np.testing.assert_allclose((found.affine @ [0, 0, k, 1])[:3], place, atol=0.1 * min(found.spacing))
                slope, intercept = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
                np.testing.assert_allclose(found.array[:, :, k], ds.pixel_array.T * slope + intercept, rtol=1e-6)
        assert time.monotonic() - start < SECONDS
    assert read > TRIES // 10 and refused > TRIES // 20
