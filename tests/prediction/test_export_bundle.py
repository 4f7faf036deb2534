"""A bundle as a file that runs without this package."""

import hashlib
import json

import pytest
import torch
from monai.bundle import ConfigParser

from ulite_monai.errors import InputError
from ulite_monai.prediction.export_bundle import export_bundle


@pytest.mark.slow
@pytest.mark.parametrize(("to", "name"), [("torchscript", "a.ts"), ("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_export_of_a_bundle(weights, tmp_path, to, name):
    report = export_bundle("hippocampus", tmp_path / name, to, weights, {"roi_size": [24, 32, 24]})
    assert report.files[0] == tmp_path / name and report.files[0].exists()
    assert report.largest_difference < 1e-3


def test_an_export_doesnt_replace_its_weights(weights):
    before = weights.read_bytes()
    with pytest.raises(InputError, match=r"model\.pt: is the weights that are to be exported; give another name"):
        export_bundle("hippocampus", weights, "torchscript", weights)
    assert weights.read_bytes() == before


@pytest.mark.slow
def test_export_of_own_weights_is_named_as_theirs_and_has_their_channels(bundle, tmp_path):
    ids = {"labels": ["tumour"], "in_channels": 2, "roi_size": [16, 16, 16]}
    definition = ConfigParser(json.loads((bundle / "configs/inference.json").read_text()) | ids)
    torch.save(definition.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    report = export_bundle("hippocampus", tmp_path / "a.ts", "torchscript", tmp_path / "model.pt", ids)
    extra = {"metadata.json": ""}
    torch.jit.load(tmp_path / "a.ts", _extra_files=extra)
    reported = json.loads(extra["metadata.json"])
    assert report.largest_difference < 1e-3
    digits = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    assert (reported["name"], reported["version"]) == ("U-Lite, weights of the user", digits[:12])
