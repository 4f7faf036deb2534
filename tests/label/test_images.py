"""A bundle of 2D images on the server: nuclei in microscopy."""

import shutil

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from tests.conftest import read_json
from tests.label.conftest import serving, ulite

pytestmark = pytest.mark.slow


@pytest.fixture
def nuclei(root, tmp_path):
    """The bundle with random weights."""
    folder = shutil.copytree(
        root / "examples" / "nuclei_bundle", tmp_path / "nuclei2", ignore=shutil.ignore_patterns("runs")
    )
    torch.manual_seed(0)
    network = ConfigParser(read_json(folder / "configs" / "inference.json")).get_parsed_content("network_def")
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def test_an_image_is_segmented_labelled_and_learnt(label_python, nuclei, shared_data, tmp_path):
    (tmp_path / "studies").mkdir()
    names = sorted(path.name for path in (shared_data / "dsb2018" / "images").iterdir())[:3]
    for name in names:
        shutil.copy(shared_data / "dsb2018" / "images" / name, tmp_path / "studies")
    with serving(label_python, tmp_path, tmp_path / "studies", "--bundle", nuclei) as server:
        assert server.get("/info/").json()["models"]["nuclei2"]["dimension"] == 2
        answer = server.infer(names[0].removesuffix(".png"), model="nuclei2")
        assert answer.status_code == 200, answer.text
        (tmp_path / "mask.png").write_bytes(answer.content)
        image = shared_data / "dsb2018" / "images" / names[0]
        done = ulite(label_python, "predict", "-i", image, "-o", "expected.png", "--bundle", nuclei, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        with Image.open(tmp_path / "mask.png") as mask, Image.open(tmp_path / "expected.png") as expected:
            assert np.array_equal(np.asarray(mask), np.asarray(expected)) and np.asarray(mask).any()
        assert server.post("/activelearning/uncertainty", json={}).json()["id"] in {
            n.removesuffix(".png") for n in names
        }
        for name in names:
            answer = server.save_label(name.removesuffix(".png"), shared_data / "dsb2018" / "masks" / name)
            assert answer.status_code == 200, answer.text
        state = server.train("nuclei2", max_epochs=1, val_split=0.3)
        assert state["status"] == "DONE" and "mean Dice" in state["details"][-1], state["details"]
