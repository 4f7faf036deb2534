"""Small real geometry for all tests, and the public data where it is at hand."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def bundle(root: Path) -> Path:
    """The hippocampus bundle."""
    return root / "bundle"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data: $ULITE_TEST_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("ULITE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the public data isn't at {folder}; set ULITE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def hippocampus(shared_data: Path) -> Path:
    """Task04 of the Medical Segmentation Decathlon."""
    return shared_data / "Task04_Hippocampus"


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write an array as NIfTI, 1 mm RAS unless an affine is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.4) @ np.diag([1.4, -0.9, 2.3]), [-31.5, 12.25, 40]
)
ANISOTROPIC = np.array([[-1.4, 0, 0, 90], [0, 0, 2.3, -126], [0, 0.9, 0, -72], [0, 0, 0, 1]])


def nifti(
    array: np.ndarray, sform=None, qform=None, codes=(1, 1), unit="mm", kind=nib.Nifti1Image, endian="<", **fields
):
    """A NIfTI image whose header holds these forms and fields as they are."""
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(array.dtype.newbyteorder(endian))
    header.set_data_shape(array.shape)
    header.set_xyzt_units(unit, "sec")
    header.set_sform(sform, code=0 if sform is None else codes[0])
    header.set_qform(qform, code=0 if qform is None else codes[1])
    if qform is None:  # or it stays at 1 mm
        header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0) if sform is not None else (1.4, 0.9, 2.3)
    for name, value in fields.items():
        header[name] = value
    return kind(array, None, header)


def scaled(factor: float) -> np.ndarray:
    """The oblique affine in another unit."""
    return np.diag([factor] * 3 + [1]) @ OBLIQUE


SHEARED = OBLIQUE @ np.array([[1, 0.3, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
GEOMETRIES: dict[str, dict] = {
    "sform": {"sform": ANISOTROPIC, "codes": (2, 0)},
    "qform": {"qform": ANISOTROPIC},
    "oblique_sform": {"sform": OBLIQUE, "codes": (3, 0)},
    "oblique_qform": {"qform": OBLIQUE, "codes": (0, 2)},
    "oblique_both": {"sform": OBLIQUE, "qform": OBLIQUE, "codes": (4, 1)},
    "different": {"sform": OBLIQUE, "qform": ANISOTROPIC, "codes": (1, 2)},
    "no_codes": {},
    "sheared": {"sform": SHEARED, "codes": (1, 0)},
    "sheared_both": {"sform": SHEARED, "qform": OBLIQUE},
    "microns": {"sform": scaled(1000), "qform": scaled(1000), "unit": "micron"},
    "microns_qform": {"qform": scaled(1000), "unit": "micron"},
    "metres": {"sform": scaled(0.001), "qform": scaled(0.001), "unit": "meter"},
    "big_endian": {"sform": OBLIQUE, "qform": OBLIQUE, "endian": ">"},
    "big_endian_qform": {"qform": OBLIQUE, "endian": ">"},
    "nifti2": {"sform": OBLIQUE, "qform": OBLIQUE, "kind": nib.Nifti2Image},
    "nifti2_qform_big_endian": {"qform": OBLIQUE, "kind": nib.Nifti2Image, "endian": ">"},
    "pair": {"qform": OBLIQUE, "kind": nib.Nifti1Pair},
    "sform_of_other_pixdim": {"sform": OBLIQUE, "codes": (1, 0), "pixdim": [1, 3, 3, 3, 1, 1, 1, 1]},
}


@pytest.fixture(scope="session")
def geometries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same anisotropic voxels below every form of NIfTI header, in one folder; none of them has 1 mm."""
    folder = tmp_path_factory.mktemp("geometries")
    image, _ = ellipsoids((20, 26, 12), seed=0)
    paths = {}
    for name, header in GEOMETRIES.items():
        pair = issubclass(header.get("kind", nib.Nifti1Image), nib.Nifti1Pair) and "pair" in name
        paths[name] = folder / f"{name}{'.hdr' if pair else '.nii.gz'}"
        nib.save(nifti(image, **header), paths[name])
    return paths


def ellipsoids(shape: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image (float32) with two touching ellipsoids of different brightness, and its label map (uint8)."""
    random = np.random.default_rng(seed)
    centre = np.asarray(shape) / 2 + random.uniform(-2, 2, 3)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    label = np.zeros(shape, dtype=np.uint8)
    for value, shift in ((1, -5), (2, 5)):
        distance = (((grid - centre - [0, shift, 0]) / (np.asarray(shape) / 4.5)) ** 2).sum(-1)
        label[(distance < 1) & (label == 0)] = value
    image = np.array([0.0, 1.0, 2.0], dtype=np.float32)[label] + random.normal(0, 0.15, shape).astype(np.float32)
    return image * 100, label


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a data set in the Decathlon's layout and returns its folder."""

    def make(cases: int = 6, shape: Sequence[int] = (24, 28, 20), name: str = "data set") -> Path:
        folder = tmp_path / name
        for number in range(cases):
            image, label = ellipsoids(shape, seed=number)
            affine = np.diag([-1.0, 1.0, 1.0, 1.0])
            write_volume(folder / "imagesTr" / f"case_{number}.nii.gz", image, affine)
            write_volume(folder / "labelsTr" / f"case_{number}.nii.gz", label, affine)
        return folder

    return make


SMALL = (
    *("--patch_size", "[24,24,16]", "--batch_size", "2"),
    *("--network_def#features", "[8,16,16]", "--network_def#strides", "2"),
)


def environment() -> dict[str, str]:
    """For commands under test: this checkout importable, and one thread, which keeps busy machines fast."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run_bundle(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `python -m monai.bundle`."""
    command = [sys.executable, "-m", "monai.bundle", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment(), text=True, capture_output=True, timeout=900)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def read_json(path: Path) -> dict:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def weights(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with a known answer: anterior where the normalised value exceeds 1, posterior below -1."""
    import torch
    from monai.bundle import ConfigParser

    network = ConfigParser(read_json(bundle / "configs/inference.json")).get_parsed_content("network_def")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        last = network.decoder[-1]
        for norm in (network.encoder[0].norm, last.norm):
            norm.weight.fill_(1)
        # The stem makes a channel of each voxel of a block, the head puts them back.
        voxels = list(itertools.product(*map(range, network.stem_stride)))
        for channel, voxel in enumerate(voxels):
            entry = tuple(np.add(network.stem.padding, voxel))
            network.stem.weight[(channel, 0, *entry)] = 1
            for sign, part, target in ((1, 0, 1), (-1, len(voxels), 2)):
                last.pw.weight[part + channel, last.pw.in_channels - last.pw.out_channels + channel] = sign
                last.pw2.weight[part + channel, part + channel] = 1
                network.head.weight[(part + channel, target, *entry)] = 1
        network.head.bias[0] = torch.nn.functional.gelu(torch.tensor(1.0))
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path


def expected_mask(image: np.ndarray) -> np.ndarray:
    """What the network of `weights` makes of an image on its own grid."""
    z = (image - image.mean()) / image.std()
    return np.where(z > 1, 1, np.where(z < -1, 2, 0)).astype(np.uint8)
