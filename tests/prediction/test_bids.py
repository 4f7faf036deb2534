"""Masks as a BIDS derivative dataset, by the naming rules of BIDS 1.10 and by its validator where it is installed."""

import csv
import json
import re
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import write_volume
from tests.prediction.conftest import statuses, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import Part, PredictOptions, merge_parts, predict_cases
from ulite_monai.prediction.bids_outputs import bids_label

NAMES = {
    "sub-01/ses-1/anat/sub-01_ses-1_T1w": "sub-01/ses-1/anat/sub-01_ses-1_desc-hippocampus",
    "sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w": "sub-01/ses-2/anat/sub-01_ses-2_run-1_desc-hippocampus",
    "sub-02/anat/sub-02_T1w": "sub-02/anat/sub-02_desc-hippocampus",
}
# "Discrete segmentations" and "probabilistic segmentations" of anatomical images, with the entities in their order.
OF_A_PARTICIPANT = re.compile(
    r"(?P<sub>sub-[a-zA-Z0-9]+)/((?P<ses>ses-[a-zA-Z0-9]+)/)?anat/"
    r"(?P=sub)(?(ses)_(?P=ses))(_acq-[a-zA-Z0-9]+)?(_ce-[a-zA-Z0-9]+)?(_rec-[a-zA-Z0-9]+)?(_run-[0-9]+)?"
    r"(_space-[a-zA-Z0-9]+)?(_desc-[a-zA-Z0-9]+)?_(dseg|probseg)[.](nii[.]gz|nii|json|tsv)"
)
BIDS = PredictOptions(bids="hippocampus")


@pytest.fixture
def dataset(tmp_path):
    for seed, name in enumerate(NAMES):
        write_volume(tmp_path / "bids" / f"{name}.nii.gz", volume(seed), np.diag([-1, 1, 1.5, 1]))
    about = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (tmp_path / "bids" / "dataset_description.json").write_text(json.dumps(about))
    return tmp_path / "bids"


def names_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def validated(folder):
    """The validator's errors, where it is installed."""
    if shutil.which("bids-validator-deno") is None:
        return []
    done = subprocess.run(
        ["bids-validator-deno", folder, "--format", "json"], capture_output=True, text=True, timeout=120
    )
    return [one for one in json.loads(done.stdout)["issues"]["issues"] if one["severity"] == "error"]


def test_names_tables_and_description_are_bids(segmenter, dataset, tmp_path):
    out = dataset / "derivatives" / "ulite"
    results = predict_cases(dataset, out, segmenter, PredictOptions(bids="hippocampus", probabilities=True))
    assert statuses(results) == dict.fromkeys(NAMES, "done")
    masks = {f"{base}_{kind}.nii.gz" for base in NAMES.values() for kind in ("dseg", "probseg")}
    own = {"dataset_description.json", "desc-hippocampus_dseg.tsv", "volumes.tsv", ".bidsignore", "predictions.json"}
    assert names_below(out) == masks | own
    assert all(OF_A_PARTICIPANT.fullmatch(name) for name in masks)
    predict_cases(dataset, tmp_path / "plain", segmenter)
    for name, base in NAMES.items():
        mask = out / f"{base}_dseg.nii.gz"
        assert np.array_equal(nib.load(mask).affine, np.diag([-1, 1, 1.5, 1]))
        assert mask.read_bytes() == (tmp_path / "plain" / f"{name}.nii.gz").read_bytes()
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative" and about["BIDSVersion"] == "1.10.0"
    (made_by,) = about["GeneratedBy"]
    assert made_by["Name"] == "ulite-monai" and "Research only" in made_by["Description"]
    assert (out / "desc-hippocampus_dseg.tsv").read_text() == "index\tname\n1\tanterior\n2\tposterior\n"
    rows = list(csv.DictReader((out / "volumes.tsv").open(), delimiter="\t"))
    assert [(row["participant_id"], row["session_id"]) for row in rows] == [
        *(("sub-01", "ses-1"), ("sub-01", "ses-2"), ("sub-02", "n/a"))
    ]
    assert [row["filename"] for row in rows] == [f"{base}_dseg.nii.gz" for base in NAMES.values()]
    assert float(rows[0]["anterior_ml"]) == pytest.approx(results[0].volumes[0].volume_ml, rel=1e-5)
    assert set((out / ".bidsignore").read_text().split()) >= {"predictions*.json", "volumes.tsv"}
    assert validated(out) == []


def test_a_dataset_is_resumed_and_its_masks_are_no_inputs(segmenter, dataset):
    out = dataset / "derivatives" / "ulite"
    predict_cases(dataset, out, segmenter, BIDS)
    (out / "sub-02" / "anat" / "sub-02_desc-hippocampus_dseg.nii.gz").unlink()
    results = predict_cases(dataset, out, segmenter, PredictOptions(bids="hippocampus", resume=True))
    assert list(statuses(results).values()) == ["skipped", "skipped", "done"]


def test_parts_of_a_dataset_merge_to_the_same(segmenter, dataset, tmp_path):
    predict_cases(dataset, tmp_path / "one", segmenter, BIDS)
    for number in (1, 2):
        predict_cases(dataset, tmp_path / "out", segmenter, PredictOptions(bids="hippocampus", part=Part(number, 2)))
    assert not (tmp_path / "out" / "volumes.tsv").exists()
    assert merge_parts(tmp_path / "out").missing == []
    for name in ("volumes.tsv", "dataset_description.json", "desc-hippocampus_dseg.tsv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "one" / name).read_text()
    assert validated(tmp_path / "out") == []


def test_somebody_elses_dataset_stays(segmenter, dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="wasn't written by this program"):
        predict_cases(dataset, tmp_path / "out", segmenter, BIDS)
    with pytest.raises(InputError, match="NIfTI alone"):
        predict_cases(dataset, tmp_path / "x", segmenter, PredictOptions(bids="hippocampus", format="both"))
    assert names_below(tmp_path / "out") == {"dataset_description.json"}


@pytest.mark.parametrize(
    ("bundle", "label"), [("hippocampus", "hippocampus"), ("runs/my_run-2/", "myrun2"), ("my_folds/*", "myfolds")]
)
def test_the_description_is_named_by_the_bundle(bundle, label):
    assert bids_label(bundle) == label
