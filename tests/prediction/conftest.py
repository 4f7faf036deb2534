"""A segmenter with a known answer, its inputs, and the bundle's own run in this process."""

import numpy as np
import pytest
from monai.bundle import ConfigParser

from tests.conftest import read_json, write_volume
from ulite_monai.errors import input_error
from ulite_monai.prediction import Segmenter

SHAPE = (30, 34, 26)
FREE = {"straight_boundary": False}  # the shipped bundle's plane is no part of the network with a known answer


def volume(seed=0):
    return np.random.default_rng(seed).normal(100, 30, SHAPE).astype(np.float32)


def statuses(results):
    return {result.id: result.status for result in results}


@pytest.fixture(scope="session")
def segmenter(weights):
    return Segmenter("hippocampus", weights, device="cpu", overrides=FREE)


@pytest.fixture
def make_inputs(tmp_path):
    """A function that writes a volume a name to a folder and returns the folder."""

    def make(*names, folder="in"):
        for seed, name in enumerate(names):
            write_volume(tmp_path / folder / f"{name}.nii.gz", volume(seed))
        return tmp_path / folder

    return make


@pytest.fixture
def run_inference(bundle, weights):
    """A function that does what `python -m monai.bundle run` does with inference.json, in this process."""

    def run(dataset_dir, output_dir, **ids):
        parser = ConfigParser(read_json(bundle / "configs" / "inference.json"))
        paths = {"dataset_dir": str(dataset_dir), "output_dir": str(output_dir), "ckpt": str(weights)}
        parser.update({"bundle_root": str(bundle), "device": "cpu", "engine": "torch", **FREE, **paths, **ids})
        try:
            parser.get_parsed_content("run")
        except RuntimeError as error:  # as the process itself prints it
            raise input_error(error) from error

    return run
