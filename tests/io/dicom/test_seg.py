"""DICOM SEG out, read back by dcmqi, checked by dciodvfy, and by what it refers to."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")
pytest.importorskip("highdicom")

from tests.io.conftest import LPS_TO_RAS, OBLIQUE, affine_from, volume_array  # noqa: E402
from tests.io.test_atomic import full_disk  # noqa: E402
from ulite_monai.errors import InputError  # noqa: E402
from ulite_monai.io.dicom.seg import require_encodable, write_dicom_seg  # noqa: E402
from ulite_monai.io.dicom.text import complete_character_sets  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402
from ulite_monai.io.write_nifti import write_label_map  # noqa: E402

STRUCTURE = {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}
HIPPOCAMPUS = {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"}
LEFT = {"value": "7771000", "scheme": "SCT", "meaning": "Left"}
ANTERIOR = {"name": "Anterior hippocampus", "category": STRUCTURE, "type": HIPPOCAMPUS, "laterality": LEFT}
LABELS = [
    {"value": 1, **ANTERIOR, "colour": "#E69F00"},
    {"value": 2, "name": "Nothing", "category": STRUCTURE, "type": HIPPOCAMPUS, "anatomy": HIPPOCAMPUS},
    {"value": 5, "name": "Posterior hippocampus", "category": STRUCTURE, "type": HIPPOCAMPUS},
]
MAKER = ("U-Lite hippocampus", "0.1.0")


def mask_for(series):
    """Two of the three labels, not symmetric, and some slices empty."""
    mask = np.zeros(series.shape, dtype=np.uint8)
    i, j, k = (max(1, n // 3) for n in series.shape)
    mask[i : i + 9, j : j + 5, min(k, series.shape[2] - 1) : k + 2] = 1
    mask[1:3, 2:12, -1:] = 5
    assert set(np.unique(mask)) == {0, 1, 5}
    return mask


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} isn't installed")
    return found


def written(folder: Path, path: Path, number: int = 0):
    series = find_series(folder).series[number]
    mask = mask_for(series)
    notes = write_dicom_seg(mask, series, LABELS, path, *MAKER)
    return series, mask, notes


def read_by_dcmqi(path: Path, series, folder: Path) -> np.ndarray:
    """The mask as segimage2itkimage reads it, pasted onto the series' grid."""
    folder.mkdir()
    command = [program("segimage2itkimage"), "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    mask = np.zeros(series.shape, dtype=np.uint8)
    for file in folder.glob("*.nii.gz"):
        image = nib.load(file)
        index = np.argwhere(np.asarray(image.dataobj) > 0)
        found = nib.affines.apply_affine(np.linalg.inv(series.affine) @ image.affine, index)
        assert np.abs(found - np.round(found)).max(initial=0) < 1e-3
        mask[tuple(np.round(found).astype(int).T)] = LABELS[int(file.name.split(".")[0]) - 1]["value"]
    return mask


def complaints(path: Path) -> list[str]:
    """The errors that dciodvfy reports."""
    done = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    assert "Segmentation" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


SOURCES = [
    pytest.param("mr_t1_large_384slices", marks=pytest.mark.slow),
    "multi_timepoint_ge_epi",
    "odd_series/hitachi_oblique",
    "odd_series/ct_flipped_iop_17slices",
    "odd_series_noise_pixels/single_slice",
    "odd_series_noise_pixels/slicecount_001",
    "transfer_syntax_series_noise_pixels/compressed_j2k",
    "multiframe/hyperfine_enhanced_noise_pixels",
    "multiframe/philips_enhanced_noise_pixels",
    "multiframe/siemens_enhanced_noise_pixels",
    "multiframe/pydicom_emri_ect",
]


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_dcmqi_reads_the_identical_mask(shared_data, tmp_path, source):
    series, mask, _ = written(shared_data / "dicom" / source, tmp_path / "m.seg.dcm")
    np.testing.assert_array_equal(read_by_dcmqi(tmp_path / "m.seg.dcm", series, tmp_path / "read"), mask)


@pytest.mark.parametrize("source", SOURCES)
def test_dciodvfy_finds_no_error(shared_data, tmp_path, source):
    written(shared_data / "dicom" / source, tmp_path / "m.seg.dcm")
    assert complaints(tmp_path / "m.seg.dcm") == []


@pytest.mark.parametrize("source", ["multiframe/pydicom_emri_ect", "multiframe/siemens_enhanced_noise_pixels"])
def test_every_frame_refers_to_the_source_frame_at_its_place(shared_data, tmp_path, source):
    series, _, _ = written(shared_data / "dicom" / source, tmp_path / "m.seg.dcm")
    frames = pydicom.dcmread(series.files[0]).PerFrameFunctionalGroupsSequence
    for frame in pydicom.dcmread(tmp_path / "m.seg.dcm").PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        place = frames[number - 1].PlanePositionSequence[0].ImagePositionPatient
        assert frame.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(place)


def test_it_belongs_to_its_series(write_series, tmp_path):
    folder = write_series()
    series, _, notes = written(folder, tmp_path / "m.seg.dcm")
    sources = [pydicom.dcmread(file) for file in series.files]
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert notes == []
    assert seg.SOPClassUID == pydicom.uid.SegmentationStorage and seg.SegmentationType == "BINARY"
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.SeriesInstanceUID != sources[0].SeriesInstanceUID
    (reference,) = seg.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == sources[0].SeriesInstanceUID
    instances = [item.ReferencedSOPInstanceUID for item in reference.ReferencedInstanceSequence]
    assert sorted(instances) == sorted(ds.SOPInstanceUID for ds in sources)
    assert seg.PatientID == "SecretId"


def test_segments_are_coded_and_an_empty_one_stays(write_series, tmp_path):
    written(write_series(), tmp_path / "m.seg.dcm")
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert [(s.SegmentNumber, s.SegmentLabel) for s in seg.SegmentSequence] == [
        (1, "Anterior hippocampus"),
        (2, "Nothing"),
        (3, "Posterior hippocampus"),
    ]
    for segment in seg.SegmentSequence:
        category, kind = segment.SegmentedPropertyCategoryCodeSequence[0], segment.SegmentedPropertyTypeCodeSequence[0]
        assert (category.CodeValue, category.CodingSchemeDesignator) == ("91723000", "SCT")
        assert (kind.CodeValue, kind.CodeMeaning) == ("5366008", "Hippocampus")
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == MAKER
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in seg.SegmentSequence]
    sides = [kind.get("SegmentedPropertyTypeModifierCodeSequence", [None])[0] for kind in kinds]
    assert (sides[0].CodeValue, sides[0].CodeMeaning) == ("7771000", "Left") and sides[1:] == [None, None]
    shown = [segment.get("RecommendedDisplayCIELabValue") for segment in seg.SegmentSequence]
    lightness, a, b = (value / 65535 for value in shown[0])  # of #E69F00, as highdicom converts it
    assert (100 * lightness, 255 * a - 128, 255 * b - 128) == pytest.approx((70.6, 16.5, 74.7), abs=1)
    assert shown[1:] == [None, None]
    used = {
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in seg.PerFrameFunctionalGroupsSequence
    }
    assert used == {1, 3}
    assert "research use" in seg.ContentDescription and "research use" in seg.SeriesDescription


def test_an_empty_mask_is_written(write_series, tmp_path):
    series = find_series(write_series()).series[0]
    write_dicom_seg(np.zeros(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert len(seg.SegmentSequence) == 3 and not seg.pixel_array.any()
    assert complaints(tmp_path / "m.seg.dcm") == []


def test_a_time_point_of_a_multi_frame_file(write_series, tmp_path):
    legacy = pytest.importorskip("highdicom").legacy
    datasets = []
    for time in (1, 2):
        for file in write_series(folder=f"time{time}").iterdir():
            ds = pydicom.dcmread(file)
            ds.SOPInstanceUID += f".{time}"
            ds.InstanceNumber += 10 * time
            datasets.append(ds)
    converted = legacy.LegacyConvertedEnhancedMRImage(
        datasets, "1.2.826.0.1.3680043.8.498.33", 9, "1.2.826.0.1.3680043.8.498.34", 1
    )
    for groups, ds in zip(converted.PerFrameFunctionalGroupsSequence, datasets, strict=True):
        groups.FrameContentSequence[0].TemporalPositionIndex = int(ds.InstanceNumber) // 10
    converted.save_as(tmp_path / "converted.dcm")
    for number in (0, 1):
        path = tmp_path / f"{number}.seg.dcm"
        series, mask, _ = written(tmp_path / "converted.dcm", path, number)
        np.testing.assert_array_equal(read_by_dcmqi(path, series, tmp_path / f"read{number}"), mask)
        referred = {
            source.ReferencedFrameNumber
            for frame in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
            for derivation in frame.DerivationImageSequence
            for source in derivation.SourceImageSequence
        }
        assert referred <= {one.frame + 1 for one in series.slices}
        empty = tmp_path / f"{number}empty.seg.dcm"
        write_dicom_seg(np.zeros_like(mask), series, LABELS, empty, *MAKER)
        assert not pydicom.dcmread(empty).pixel_array.any()


def test_what_made_it_is_reported(write_series, tmp_path):
    written(write_series(), tmp_path / "m.seg.dcm")
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert seg.ContentCreatorName == "U-Lite hippocampus 0.1.0^"
    assert seg.SeriesDescription == "U-Lite hippocampus 0.1: For research use only, not for diagnosis"
    assert (seg.Manufacturer, seg.ManufacturerModelName, seg.SoftwareVersions) == ("ulite-monai", *MAKER)


def read_itk(path: Path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS_TO_RAS @ affine


@pytest.mark.parametrize("spacing", [(0.8, 0.5, 2.5), (0.005, 0.004, 0.02)])
@pytest.mark.parametrize("kind", ["classic", "enhanced", "single frames", "two files", "one of two"])
def test_every_way_to_the_mask_leads_to_its_place(write_series, write_enhanced, tmp_path, same_place, kind, spacing):
    array, affine = volume_array((12, 14, 6)), affine_from(OBLIQUE, spacing)
    layouts = {
        "enhanced": [range(6)],
        "single frames": [[k] for k in range(6)],
        "two files": [range(2), range(2, 6)],
        "one of two": [range(6), range(6)],
    }
    folder = write_series(array, affine) if kind == "classic" else write_enhanced(layouts[kind], array, affine)
    series, mask, _ = written(folder, tmp_path / "m.seg.dcm")
    require_encodable(series, LABELS, *MAKER)
    np.testing.assert_array_equal(read_by_dcmqi(tmp_path / "m.seg.dcm", series, tmp_path / "read"), mask)
    assert complaints(tmp_path / "m.seg.dcm") == []
    write_label_map(mask, read_series(series), tmp_path / "m.nii.gz")
    nifti = nib.load(tmp_path / "m.nii.gz")
    same_place(np.asarray(nifti.dataobj), nifti.affine, mask, affine)
    same_place(*read_itk(tmp_path / "m.nii.gz"), mask, affine)


def references(path: Path) -> set[tuple[str, str, int | None]]:
    seg = pydicom.dcmread(path)
    listed = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    found = {
        (source.ReferencedSOPClassUID.name, source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber"))
        for frame in seg.PerFrameFunctionalGroupsSequence
        for derivation in frame.DerivationImageSequence
        for source in derivation.SourceImageSequence
    }
    assert {instance for _, instance, _ in found} <= listed
    return found


def test_a_volume_of_several_files_refers_to_each_of_its_frames(write_enhanced, tmp_path):
    folder = write_enhanced([[0, 1, 2, 3], [4, 5]], volume_array((12, 14, 6)))
    series = find_series(folder).series[0]
    write_dicom_seg(np.ones(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
    uids = [pydicom.dcmread(folder / name).SOPInstanceUID for name in ("part1", "part2")]
    kind = "Enhanced MR Image Storage"
    expected = {(kind, uids[0], frame) for frame in (1, 2, 3, 4)} | {(kind, uids[1], frame) for frame in (1, 2)}
    assert references(tmp_path / "m.seg.dcm") == expected


def test_enhanced_files_of_one_frame_are_referred_to_without_a_frame(write_enhanced, tmp_path):
    series = find_series(write_enhanced([[0], [1], [2], [3]])).series[0]
    write_dicom_seg(np.ones(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
    assert {frame for _, _, frame in references(tmp_path / "m.seg.dcm")} == {None}
    assert len(references(tmp_path / "m.seg.dcm")) == 4


def test_a_wrong_distance_in_the_headers_doesnt_move_it(write_series, tmp_path):
    folder = write_series(volume_array((12, 14, 6)), change=lambda ds, k: setattr(ds, "SpacingBetweenSlices", 7.0))
    series, mask, _ = written(folder, tmp_path / "m.seg.dcm")
    np.testing.assert_array_equal(read_by_dcmqi(tmp_path / "m.seg.dcm", series, tmp_path / "read"), mask)


TEXTS = {
    "": "Doe^Jane",
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 101": "Wałęsa^Łucja",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "ISO_IR 126": "Διονυσιος^",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 144": "Люкceмбypг^",
    "ISO_IR 148": "Çavuş^",
    "ISO_IR 166": "สมชาย^",
    "ISO_IR 192": "王^小東",
    "ISO_IR 203": "Œuvre^€",
    "GB18030": "王^小东",
    "GBK": "王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "\\ISO 2022 IR 58": "Zhang^XiaoDong=张^小东",
    "ISO 2022 IR 6\\ISO 2022 IR 100\\ISO 2022 IR 144": "Müller^Люк",
}
# As in the standard (PS3.5, annex K); pydicom writes it without its escape sequences.
SIMPLIFIED = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"


@pytest.mark.parametrize("character_set", TEXTS)
def test_the_patient_keeps_his_name_in_every_character_set(write_series, tmp_path, character_set):
    def named(ds, k):
        complete_character_sets()
        ds.SpecificCharacterSet = character_set.split("\\")
        ds.PatientName = SIMPLIFIED if character_set.endswith("58") else TEXTS[character_set]
        ds.PatientID = TEXTS[character_set].partition("^")[0]

    series = find_series(write_series(change=named)).series[0]
    labels = [{**LABELS[0], "name": "hipocampo, część przednia"}, *LABELS[1:]]
    require_encodable(series, labels, *MAKER)
    assert write_dicom_seg(np.ones(series.shape, np.uint8), series, labels, tmp_path / "m.seg.dcm", *MAKER) == []
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert (seg.PatientName, seg.PatientID) == (TEXTS[character_set], TEXTS[character_set].partition("^")[0])
    assert seg.SegmentSequence[0].SegmentLabel == "hipocampo, część przednia"
    assert complaints(tmp_path / "m.seg.dcm") == []


def test_malformed_values_are_left_empty_and_said(write_series, tmp_path):
    def malformed(ds, k):
        ds.PatientSex, ds.StudyDate, ds.StudyTime, ds.PatientBirthDate = "U", "20200101", "101010", "19600101"

    folder = write_series(change=malformed)
    for file in folder.iterdir():
        content = file.read_bytes().replace(b"20200101", b"01.01.20").replace(b"101010", b"10h10m")
        file.write_bytes(content)
    _, _, notes = written(folder, tmp_path / "m.seg.dcm")
    assert notes == [
        "series7_8730791c: its PatientSex, StudyDate, StudyTime aren't in DICOM's form; left empty in the DICOM SEG."
    ]
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert (seg.PatientSex, seg.StudyDate, seg.StudyTime, seg.PatientBirthDate) == ("", "", "", "19600101")


@pytest.mark.parametrize("uid", ["1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.7"])
def test_kinds_of_images_that_highdicom_doesnt_know_are_referred_to(write_series, tmp_path, uid):
    def as_kind(ds, k):
        ds.SOPClassUID = uid

    written(write_series(change=as_kind), tmp_path / "m.seg.dcm")
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert {item.ReferencedSOPClassUID for item in seg.SourceImageSequence} == {uid}


REFUSALS = {
    "its files name several studies": lambda ds, k: setattr(ds, "StudyInstanceUID", f"1.2.{k}"),
    "has no StudyInstanceUID": lambda ds, k: delattr(ds, "StudyInstanceUID"),
    "no usable PixelSpacing": lambda ds, k: delattr(ds, "PixelSpacing"),
    "write NIfTI alone, --format nifti with --resample-tilt": lambda ds, k: setattr(
        ds, "ImagePositionPatient", [0, 0.5 * k, 2.5 * k]
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_the_headers_rule_out_is_refused_beforehand(write_series, reason):
    series = find_series(write_series(change=REFUSALS[reason])).series[0]
    with pytest.raises(InputError, match=f"{series.id}: .*{reason}"):
        require_encodable(series, LABELS, *MAKER)


def test_what_the_headers_lack_is_filled_and_said_but_not_in_the_files(write_series, tmp_path):
    def bare(ds, k):
        del ds.PatientBirthDate, ds.AccessionNumber, ds.FrameOfReferenceUID, ds.SliceThickness
        ds.PatientAge = "42"

    folder = write_series(change=bare)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    _, _, notes = written(folder, tmp_path / "m.seg.dcm")
    reported = " ".join(notes)
    assert "lacks PatientBirthDate, AccessionNumber; left empty" in reported
    assert "lacks FrameOfReferenceUID; the DICOM SEG has a new one" in reported
    assert "lacks SliceThickness" in reported and "PatientAge isn't in DICOM's form" in reported
    assert "Secret" not in reported and "42" not in reported.replace("series7_8730791c", "")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    seg = pydicom.dcmread(tmp_path / "m.seg.dcm")
    assert seg.FrameOfReferenceUID and seg.AccessionNumber == ""
    assert complaints(tmp_path / "m.seg.dcm") == []


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_without_its_uids_nothing_can_be_referred_to(write_series, tmp_path, keyword):
    series = find_series(write_series(change=lambda ds, k: delattr(ds, keyword))).series[0]
    with pytest.raises(InputError, match=f"{series.id}: has no {keyword}, .*; write NIfTI instead"):
        write_dicom_seg(np.zeros(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)


def test_a_full_disk_is_an_error_with_a_name(write_series, tmp_path):
    (series,) = find_series(write_series()).series
    path = tmp_path / "out" / "m.seg.dcm"
    with full_disk(500), pytest.raises(InputError, match=r"m.seg.dcm: can't be written: File too large"):
        write_dicom_seg(np.zeros(series.shape, np.uint8), series, LABELS, path, *MAKER)
    assert not list(path.parent.iterdir())


def test_an_irregular_series_is_refused(write_series, tmp_path):
    series = find_series(write_series(change=lambda ds, k: delattr(ds, "PixelSpacing"))).series[0]
    with pytest.raises(InputError, match=r"no usable PixelSpacing.* write NIfTI instead"):
        write_dicom_seg(np.zeros(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)


def test_masks_that_dont_fit_are_refused(write_series, tmp_path):
    series = find_series(write_series()).series[0]
    with pytest.raises(ValueError, match=r"shape \(6, 5, 3\), the series \(6, 5, 4\)"):
        write_dicom_seg(np.zeros((6, 5, 3), np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
    with pytest.raises(ValueError, match=r"holds 3, which no label declares \(\[1, 2, 5\]\)"):
        write_dicom_seg(np.full(series.shape, 3, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
    assert list(tmp_path.glob("*.dcm")) == []


def test_a_missing_highdicom_is_named(write_series, tmp_path, monkeypatch):
    series = find_series(write_series()).series[0]
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r'highdicom can\'t be imported .*pip install "ulite-monai\[dicom\]"'):
        write_dicom_seg(np.zeros(series.shape, np.uint8), series, LABELS, tmp_path / "m.seg.dcm", *MAKER)
