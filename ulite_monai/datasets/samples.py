"""Data to try things on: a sample that needs no download, and the Decathlon's hippocampus volumes."""

from __future__ import annotations

import json
import logging
import tarfile
import urllib.error
from pathlib import Path

import nibabel as nib
import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path

__all__ = ["download_hippocampus", "make_sample"]

logger = logging.getLogger(__name__)

BLOCK = 48
LABELS = {"0": "other", "1": "grey matter", "2": "white matter"}
MIN_TISSUE = 0.15

HIPPOCAMPUS_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"
HIPPOCAMPUS_MD5 = "9d24dba78a72977dbd1d2e110310f31b"


def make_sample(folder: str | Path) -> Path:
    """Make a small data set in the Decathlon's layout from the MNI152 template that nilearn's wheel carries.

    The T1 template (ICBM 2009a, 1 mm, skull-stripped) is cut into blocks of 48 voxels a side that don't overlap;
    those that hold enough tissue become cases. Labels: 1 grey, 2 white matter, where its probability map exceeds
    0.5. All blocks come from one average brain: it shows that training works, not how well a model generalises.

    Args:
        folder: gets `dataset.json`, `imagesTr` and `labelsTr`; what a former call made is kept.

    Returns:
        The folder.

    Raises:
        InputError: When nilearn isn't installed, or the folder can't be written.
    """
    folder = Path(folder)
    if (folder / "dataset.json").is_file():
        return folder
    try:
        from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template
    except ImportError as error:
        raise InputError("the sample needs nilearn: pip install 'ulite-monai[sample]'.") from error
    template = load_mni152_template(resolution=1)
    image = np.asarray(template.dataobj, dtype=np.float32)
    grey, white = (
        np.asarray(load(resolution=1).dataobj) > 0.5 for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    label = (grey + 2 * white).astype(np.uint8)
    entries = []
    for corner in np.ndindex(*(n // BLOCK for n in image.shape)):
        start = np.multiply(corner, BLOCK)
        block = tuple(slice(s, s + BLOCK) for s in start)
        if np.mean(label[block] > 0) < MIN_TISSUE:
            continue
        affine = template.affine @ nib.affines.from_matvec(np.eye(3), start)
        name = "block_{}{}{}.nii.gz".format(*corner)
        _save(np.round(image[block] * 1000).astype(np.int16), affine, folder / "imagesTr" / name)
        _save(label[block], affine, folder / "labelsTr" / name)
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {
        "name": "MNI152 blocks",
        "description": "Blocks of the ICBM 2009a T1 template with grey and white matter, from nilearn's wheel",
        "reference": "Fonov et al., NeuroImage 54:313 (2011)",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": LABELS,
        "numTraining": len(entries),
        "numTest": 0,
        "training": entries,
    }
    with atomic_path(folder / "dataset.json") as path:  # last: it says that the rest is there
        path.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    logger.info("made a sample of %d labelled blocks in %s.", len(entries), folder)
    return folder


def download_hippocampus(folder: str | Path, url: str = HIPPOCAMPUS_URL, md5: str = HIPPOCAMPUS_MD5) -> Path:
    """Download the Medical Segmentation Decathlon's Task04 Hippocampus (27 MB, CC BY-SA 4.0).

    Args:
        folder: gets `Task04_Hippocampus`; what is there already is kept.
        url: where the archive is.
        md5: its hash.

    Returns:
        The data set's folder, ready as `dataset_dir`.

    Raises:
        InputError: When it can't be reached, or isn't the file that was expected.
    """
    from monai.apps.utils import HashCheckError, check_hash, download_url

    folder = Path(folder)
    dataset = folder / "Task04_Hippocampus"
    if (dataset / "dataset.json").is_file():
        return dataset
    archive = folder / "Task04_Hippocampus.tar"
    if archive.is_file() and not check_hash(archive, md5, "md5"):
        archive.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        download_url(url, archive, hash_val=md5, hash_type="md5", progress=True)
    except HashCheckError as error:
        archive.unlink(missing_ok=True)
        raise InputError(f"{url}: the file that came isn't the expected one (MD5 {md5}); try again.") from error
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"{url}: can't be reached ({getattr(error, 'reason', error)}); without a network, copy "
            f"Task04_Hippocampus.tar to {folder} by hand and call this again."
        ) from error
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return dataset


def _save(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
