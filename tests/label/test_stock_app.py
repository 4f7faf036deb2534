"""The bundle as it is in MONAI Label's own sample app `monaibundle`."""

import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import environment
from tests.label.conftest import serving, ulite

pytestmark = pytest.mark.slow

NEEDED = "import monailabel.tasks.infer.bundle"  # scikit-image, shapely and torchvision beside what our app needs


@pytest.fixture
def app(label_python, tmp_path):
    """The folder of the sample app."""
    done = subprocess.run(
        [label_python, "-W", "ignore", "-c", NEEDED], env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"the sample app can't run in this environment: {done.stderr.strip().splitlines()[-1]}")
    command = [label_python, "-m", "monailabel.main", "apps", "--download", "--name", "monaibundle", "--output", "apps"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    return tmp_path / "apps" / "monaibundle"


@pytest.mark.parametrize("of", ["bundle", "my_run"])  # the second holds a last.ckpt, as after a training in place
def test_the_stock_app_serves_and_trains_a_bundle_in_place(label_python, app, of, cases, tmp_path, request):
    bundle = shutil.copytree(
        request.getfixturevalue(of), app / "model" / of, ignore=shutil.ignore_patterns("runs", "tensorboard")
    )
    (tmp_path / "studies").mkdir()
    for image, _ in cases[:4]:
        shutil.copy(image, tmp_path / "studies")
    start = [label_python, "-W", "ignore", "-m", "monailabel.main", "start_server", "--app", str(app)]
    start += ["--studies", "studies", "--conf", "models", of, "--conf", "zoo_source", "local"]
    start += ["--conf", "sam2", "false", "--host", "127.0.0.1"]
    name = cases[0][0].name.removesuffix(".nii.gz")

    def require_same_masks(server):
        answer = server.infer(name, model=of, result_dtype="uint8", result_extension=".nii.gz")
        assert answer.status_code == 200, answer.text
        (tmp_path / "mask.nii.gz").write_bytes(answer.content)
        arguments = ("--bundle", bundle, "-o", "expected.nii.gz", "--overwrite")
        done = ulite(label_python, "predict", "-i", cases[0][0], *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        masks = [np.asarray(nib.load(tmp_path / file).dataobj) for file in ("mask.nii.gz", "expected.nii.gz")]
        assert masks[1].any() and (masks[0] != masks[1]).sum() <= 2  # two engines, voxels on the border of two classes

    with serving(label_python, tmp_path, tmp_path / "studies", command=start) as server:
        require_same_masks(server)
        for image, label in cases[:3]:
            assert server.save_label(image.name.removesuffix(".nii.gz"), label).status_code == 200
        configs = {path: path.read_bytes() for path in (bundle / "configs").iterdir()}
        before = (bundle / "models" / "model.pt").read_bytes()
        state = server.train(of, max_epochs=1, val_split=0.3, multi_gpu=False)
        assert state["status"] == "DONE", state["details"]
        assert (bundle / "models" / "model.pt").read_bytes() != before
        assert (bundle / "models" / "model.old.pt").read_bytes() == before
        assert {path: path.read_bytes() for path in (bundle / "configs").iterdir()} == configs
        require_same_masks(server)
