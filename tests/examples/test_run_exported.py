"""The example scripts run what `ulite export` wrote of a training, where neither this package nor PyTorch is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import SMALL, ellipsoids, environment, run_bundle, write_volume

NEEDED = {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
# All that a script may import. The libraries of NumPy's wheels lie beside it.
AT_HAND = ("numpy", "numpy.libs", "nibabel", "onnxruntime", "openvino", "packaging", "typing_extensions.py")
AFFINE = np.diag([1, 1, 1.0, 1])
LABELS = ["--labels", "['left ellipsoid','right ellipsoid']"]


@pytest.fixture(scope="session")
def run(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training, in a folder with a volume that it never saw."""
    folder = tmp_path_factory.mktemp("exported")
    for number in range(4):
        image, label = ellipsoids((24, 28, 20), number)
        write_volume(folder / "data" / "imagesTr" / f"case_{number}.nii.gz", image, AFFINE)
        write_volume(folder / "data" / "labelsTr" / f"case_{number}.nii.gz", label, AFFINE)
    write_volume(folder / "image.nii.gz", ellipsoids((26, 24, 22), 9)[0], AFFINE)
    paths = ("--bundle_root", str(bundle), "--dataset_dir", str(folder / "data"), "--output_dir", str(folder / "run"))
    config = ("run", "training", "--config_file", str(bundle / "configs/train.json"))
    run_bundle(*config, *paths, *SMALL, *LABELS, "--epochs", "12", "--num_folds", "2", "--device", "cpu", cwd=folder)
    return folder / "run"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the packages at hand, as if these alone were installed."""
    folder = tmp_path_factory.mktemp("site")
    for place in map(Path, sys.path):
        for name in AT_HAND:
            if (place / name).exists() and not (folder / name).exists():
                (folder / name).symlink_to(place / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_training_runs_without_torch_and_this_package(to: str, run: Path, site: Path, root: Path) -> None:
    for package in NEEDED[to]:
        pytest.importorskip(package)
    folder, mask = run.parent, run.parent / f"{to}.nii.gz"
    predicted = folder / f"masks of {to}" / "image.nii.gz"
    ulite("predict", "-i", str(folder / "image.nii.gz"), "-o", str(predicted.parent), "--bundle", str(run))
    network = folder / f"network{SUFFIX[to]}"
    ulite("export", str(run), "--to", to, "-o", str(network))

    script = shutil.copy(root / "examples" / f"run_{to}.py", folder)
    alone = f"import runpy, sys; sys.path.append({str(site)!r}); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    arguments = (script, network, folder / "image.nii.gz", mask)
    command = [sys._base_executable, "-I", "-S", "-c", alone, *map(str, arguments)]  # type: ignore[attr-defined]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr

    expected, found = nib.load(predicted), nib.load(mask)
    voxels = np.asarray(found.dataobj)
    assert (np.asarray(expected.dataobj) == voxels).mean() > 0.999 and set(np.unique(voxels)) == {0, 1, 2}
    assert found.get_data_dtype() == np.uint8 and np.array_equal(found.affine, expected.affine)
    counts = {"left ellipsoid": int((voxels == 1).sum()), "right ellipsoid": int((voxels == 2).sum())}
    assert done.stdout.splitlines()[-1] == f"{counts} voxels"


def ulite(*arguments: str) -> None:
    command = [sys.executable, "-c", "from ulite_monai.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
