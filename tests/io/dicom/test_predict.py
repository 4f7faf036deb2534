"""DICOM series segmented: where every output lies, and what is refused before the network runs."""

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")
pytest.importorskip("highdicom")

from tests.conftest import expected_mask  # noqa: E402
from tests.io.conftest import OBLIQUE, affine_from  # noqa: E402
from tests.io.dicom.test_seg import read_itk  # noqa: E402
from ulite_monai.errors import InputError  # noqa: E402
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases  # noqa: E402

SHAPE = (40, 36, 24)
AXIAL = affine_from(np.diag([-1.0, -1.0, 1.0]), (1.0, 1.0, 1.5))
BOTH = PredictOptions(format="both")


@pytest.fixture(scope="module")
def segmenter(weights):
    return Segmenter("hippocampus", weights, device="cpu", overrides={"straight_boundary": False})


def volume():
    return np.random.default_rng(0).integers(0, 2000, SHAPE).astype(np.int16)


def segments_of(path):
    """The DICOM SEG's segments as one mask, with their affine, by highdicom."""
    highdicom = pytest.importorskip("highdicom")
    found = highdicom.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    return found.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ found.affine


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 1.1, 1.4)])
@pytest.mark.parametrize("files", [None, [range(24)], [range(10), range(10, 24)], [[k] for k in range(24)]])
def test_every_output_lies_where_the_series_lies(
    segmenter, write_series, write_enhanced, tmp_path, same_place, files, spacing
):
    affine = affine_from(OBLIQUE, spacing)
    folder = write_series(volume(), affine) if files is None else write_enhanced(files, volume(), affine)
    (result,) = predict_cases(folder, tmp_path / "out", segmenter, BOTH)
    assert (result.status, result.warnings) == ("done", []), result.message
    nifti, seg = result.outputs
    image = nib.load(nifti)
    mask = np.asarray(image.dataobj)
    assert image.header["pixdim"][1:4] == pytest.approx(spacing, abs=1e-5)
    same_place(mask, image.affine, mask, affine)
    same_place(*read_itk(nifti), mask, affine)
    same_place(*segments_of(seg), mask, affine)
    if spacing == (1.0, 1.0, 1.0):
        assert (mask == expected_mask(volume().astype(np.float32))).mean() > 0.99


def test_monochrome1_gives_the_mask_of_the_turned_values(segmenter, write_series, tmp_path):
    def inverted(ds, k):
        ds.PhotometricInterpretation = "MONOCHROME1"

    plain = write_series(volume(), AXIAL, folder="plain")
    turned = write_series(-1 - volume(), AXIAL, change=inverted, folder="turned")
    (one,), (other,) = (predict_cases(path, tmp_path / path.name / "out", segmenter) for path in (plain, turned))
    masks = [np.asarray(nib.load(result.outputs[0]).dataobj) for result in (one, other)]
    np.testing.assert_array_equal(*masks)
    assert masks[0].any() and "MONOCHROME1" in other.warnings[0]


def tilted(ds, k):
    ds.ImagePositionPatient[1] += 0.5 * k


def of_several_studies(ds, k):
    ds.StudyInstanceUID += f".{k}"


def without_an_instance(ds, k):
    if k == 3:
        del ds.SOPInstanceUID


@pytest.mark.parametrize("format", ["both", "dicom-seg"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (tilted, "write NIfTI alone, --format nifti with --resample-tilt"),
        (of_several_studies, "name several studies"),
        (without_an_instance, "has no SOPInstanceUID"),
    ],
)
def test_what_no_seg_can_refer_to_is_refused_before_the_network_runs(
    segmenter, write_series, tmp_path, monkeypatch, change, reason, format
):
    monkeypatch.setattr(Segmenter, "__call__", lambda *_, **__: pytest.fail("the network ran"))
    options = PredictOptions(format=format, resample_tilt=True)
    (result,) = predict_cases(write_series(volume(), change=change), tmp_path / "out", segmenter, options)
    assert result.status == "refused" and result.outputs == []
    with pytest.raises(InputError, match=reason):
        raise InputError(result.message)
    assert {file.name for file in (tmp_path / "out").iterdir()} <= {"predictions.json"}


def test_predict_says_why_the_only_series_cant_be_used(write_series, weights):
    with pytest.raises(InputError, match=r"tilted by .*--resample-tilt"):
        predict(write_series(volume(), change=tilted), ckpt=weights, device="cpu")


def test_predict_reports_a_lost_slice(write_series, weights):
    folder = write_series(volume(), AXIAL)
    lost = next(folder.glob("*_23"))
    lost.write_bytes(bytes(900))
    with pytest.warns(UserWarning, match=f"1 file beside it can't be read \\({lost.name}\\)"):
        assert predict(folder, ckpt=weights, device="cpu").shape == (40, 36, 23)
