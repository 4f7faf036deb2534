"""Runs of `python -m monai.bundle run training` on small volumes."""

import json
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigParser

from tests.conftest import SMALL, ellipsoids, environment, read_json, run_bundle, write_volume


def train(bundle, dataset, output, *more, run_id="training", cwd=None, check=True):
    return run_bundle(
        *("run", run_id, "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/train.json")),
        *("--dataset_dir", str(dataset), "--output_dir", str(output), "--num_folds", "3", *SMALL, *more),
        cwd=cwd or output.parent,
        check=check,
    )


def parser_of(bundle, dataset, output, **ids):
    """The configuration that `train` runs, in this process."""
    parser = ConfigParser(read_json(bundle / "configs" / "train.json"))
    paths = {"bundle_root": str(bundle), "dataset_dir": str(dataset), "output_dir": str(output)}
    small = {name.removeprefix("--"): json.loads(value) for name, value in zip(SMALL[::2], SMALL[1::2], strict=True)}
    parser.update({**paths, **small, "device": "cpu", "num_folds": 3, **ids})
    return parser


def state(path):
    return torch.load(path, weights_only=True)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="session")
def trained(bundle, tmp_path_factory):
    """A run of two epochs from another working directory, with a space in every path."""
    folder = tmp_path_factory.mktemp("a run")
    for number in range(6):
        image, label = ellipsoids((24, 28, 20), seed=number)
        write_volume(folder / "my data" / "imagesTr" / f"case_{number}.nii.gz", image)
        write_volume(folder / "my data" / "labelsTr" / f"case_{number}.nii.gz", label)
    done = train(bundle, folder / "my data", folder / "the run", "--epochs", "2")
    return folder, done


def files_of(folder):
    """The content of each file below a folder, by its path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and "tensorboard" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def ulite(*arguments, check=True):
    command = [sys.executable, "-c", "from ulite_monai.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=600)
    assert not check or done.returncode == 0, done.stderr
    return done
