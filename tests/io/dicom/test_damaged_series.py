"""Files that are damaged or cut: reported beside the series whose slices they may have been."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")

from tests.io.dicom.conftest import only, refusal  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402


def test_a_link_to_nowhere_may_be_an_end_slice_and_a_hidden_file_is_none(write_series):
    folder = write_series()
    (folder / ".nomedia").touch()
    assert only(folder).notes == ()
    (folder / "last.dcm").symlink_to(folder / "not fetched")
    assert "1 file beside it can't be read (last.dcm)" in only(folder).notes[0]


@pytest.mark.parametrize("size", [0, 120])
def test_what_may_be_an_end_slice_and_cant_be_read_is_reported(write_series, size):
    """A gap in the middle shows in the spacing; a lost first or last slice only in the file that is left of it."""
    folder = write_series()
    last = max(folder.iterdir(), key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))
    last = last.rename(last.with_suffix(".dcm"))
    last.write_bytes(last.read_bytes()[:size])
    tree = find_series(folder)
    assert tree.passed_over == {"unreadable DICOM": 1}
    (series,) = tree.series
    assert series.shape == (6, 5, 3) and series.problem is None
    (note,) = series.notes
    assert note.startswith(f"1 file beside it can't be read ({last.name}); if it is a slice of it, it is cut short")
    assert any(note in warning for warning in read_series(series).warnings)


DAMAGE = {
    "zero-filled": lambda content: bytes(len(content)),
    "zeros at its head": lambda content: bytes(200) + content[200:],
    "overwritten": lambda content: np.random.default_rng(0).bytes(len(content)),
    "an error page": lambda content: b"<html>404</html>" * 20,
    "cut before its series": lambda content: content[: content.index(b"\x20\x00\x0d\x00")],
    "cut before its size": lambda content: content[: content.index(b"\x28\x00\x10\x00")],
    "zeros from its header on": lambda content: content[:400].ljust(len(content), b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("slice_number", [0, 3])
def test_a_damaged_end_slice_is_reported(write_series, damage, slice_number):
    folder = write_series()
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(".dcm"))
    lost = next(folder.glob(f"*_{slice_number}.dcm"))
    lost.write_bytes(damage(lost.read_bytes()))
    usable = [series for series in find_series(folder).series if series.problem is None]
    assert [series.shape for series in usable] == [(6, 5, 3)]
    assert any(f"1 file beside it can't be read ({lost.name})" in note for note in usable[0].notes)
    assert any(lost.name in warning for warning in read_series(usable[0]).warnings)


@pytest.mark.parametrize("suffix", ["", ".ima", ".7", ".scan"])
def test_a_zero_filled_end_slice_is_reported_whatever_the_files_are_called(write_series, suffix):
    folder = write_series()
    for file in list(folder.iterdir()):
        file.rename(f"{file}{suffix}")
    lost = next(folder.glob(f"*_3{suffix}"))
    lost.write_bytes(bytes(500))
    assert f"1 file beside it can't be read ({lost.name})" in only(folder).notes[0]


def test_what_is_called_otherwise_or_is_text_is_no_lost_slice(write_series):
    folder = write_series()
    (folder / "scan.pdf").write_bytes(b"%PDF\0\1")
    (folder / ".DS_Store").write_bytes(bytes(500))
    (folder / "README").write_text("Aufnahme für die Studie")
    assert only(folder).notes == ()


def test_truncated_pixels_are_refused(write_series):
    folder = write_series()
    file = next(folder.glob("*_2"))
    file.write_bytes(file.read_bytes()[:-11])
    message = refusal(folder)
    assert file.name in message and "cut short (49 of 60 bytes)" in message


def test_a_header_that_is_cut_is_reported_and_not_lost(write_series):
    folder = write_series()
    file = next(folder.glob("*_3"))  # the last: without it, the others are still regular
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"\x28\x00\x10\x00")])  # where Rows is
    whole, damaged = find_series(folder).series
    assert (whole.shape, whole.problem) == ((6, 5, 3), None)
    assert f"{file.name}: its header doesn't say how large its pixel data are" in damaged.problem


def test_absent_pixels_are_refused(write_series):
    assert "no pixel data" in refusal(write_series(change=lambda ds, k: delattr(ds, "PixelData")))
