"""The T1-weighted images of a BIDS dataset, and nothing else that lies there."""

import pytest

from ulite_monai.datasets.bids import entities, find_bids_cases
from ulite_monai.errors import InputError

IMAGES = (
    "sub-01/ses-1/anat/sub-01_ses-1_T1w",
    "sub-01/ses-2/anat/sub-01_ses-2_acq-mprage_run-1_T1w",
    "sub-01/ses-2/anat/sub-01_ses-2_acq-mprage_run-2_T1w",
    "sub-B2/anat/sub-B2_T1w",
)
OTHERS = (
    "sub-01/ses-1/anat/sub-01_ses-1_T2w",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_bold",
    "derivatives/other/sub-01/anat/sub-01_T1w",
    "sourcedata/sub-01/anat/sub-01_T1w",
    "sub-B2/anat/T1w",
)
CONTRADICTORY = (
    "sub-01/ses-1/anat/sub-02_ses-1_T1w",
    "sub-01/ses-1/anat/sub-01_T1w",
    "sub-B2/anat/sub-B2_ses-1_T1w",
    "sub-B2/anat/sub-B2_run-1_run-2_T1w",
    "sub-B2/anat/sub-B2_desc-defaced_T1w",
    "sub-B2/anat/sub-B2_acq-two-words_T1w",
)


@pytest.fixture
def make_dataset(tmp_path):
    def make(*names, suffix=".nii.gz", below=""):
        for name in names:
            path = tmp_path / below / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


@pytest.mark.parametrize("below", ["", "rawdata"])
def test_every_participant_and_session_and_nothing_else(make_dataset, below):
    cases = find_bids_cases(make_dataset(*IMAGES, *OTHERS, below=below))
    assert [case.id for case in cases] == sorted(IMAGES)
    assert all(case.image[0].is_file() and str(case.image[0]).endswith(f"{case.id}.nii.gz") for case in cases)
    assert entities(IMAGES[1]) == {"sub": "01", "ses": "2", "acq": "mprage", "run": "1"}


def test_a_name_that_contradicts_its_folders_is_passed_over_and_said_so(make_dataset, caplog):
    assert [case.id for case in find_bids_cases(make_dataset(*CONTRADICTORY, IMAGES[3]))] == [IMAGES[3]]
    assert all(f"{name}.nii.gz: passed over" in caplog.text for name in CONTRADICTORY)
    assert f"{IMAGES[3]}.nii.gz" not in caplog.text


def test_what_is_no_dataset_is_refused(make_dataset, tmp_path):
    with pytest.raises(InputError, match="holds no sub-LABEL/"):
        find_bids_cases(make_dataset(*OTHERS))
    with pytest.raises(InputError, match="is no folder"):
        find_bids_cases(tmp_path / "nowhere")
    make_dataset(IMAGES[0])
    with pytest.raises(InputError, match="would both be case 'sub-01/ses-1/anat/sub-01_ses-1_T1w'"):
        find_bids_cases(make_dataset(IMAGES[0], suffix=".nii"))
