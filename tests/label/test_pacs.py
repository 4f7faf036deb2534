"""A real PACS: Orthanc with its DICOMweb plugin, on loopback; every step that OHIF's plugin takes."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.label.conftest import free_port, raw, serving, ulite

pytestmark = pytest.mark.slow

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SEGMENTS = [{"name": "anterior", "model_name": "U-Lite"}, {"name": "posterior", "model_name": "U-Lite"}]
PATIENT = "Doe^Jane"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """The URL of a running Orthanc."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.is_file():
        pytest.skip("Orthanc isn't installed: apt-get install orthanc orthanc-dicomweb")
    with running_orthanc(program, tmp_path_factory.mktemp("orthanc")) as url:
        yield url


@contextmanager
def running_orthanc(program, folder):
    port = free_port()
    config = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    log = (folder / "log.txt").open("w")
    process = subprocess.Popen([program, str(folder / "config.json")], cwd=folder, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                if requests.get(f"{url}/dicom-web/studies", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.25)
        else:
            raise AssertionError((folder / "log.txt").read_text()[-2000:])
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def upload(url, path, modality="MR"):
    """Write a volume as a series into Orthanc, with the attributes of MR.

    Returns its UID. The slices are axial, from foot to head, so that ITK reads the volume back with the axes LPS.
    """
    image = nib.as_closest_canonical(nib.load(path))
    array, affine = np.asarray(image.dataobj), np.diag([-1, -1, 1, 1]) @ image.affine
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(array.shape[2]):
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MR_IMAGE
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientName, ds.PatientID, ds.Modality = PATIENT, path.name[:20], modality
        ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
        ds.StudyDate, ds.StudyTime, ds.SeriesNumber, ds.InstanceNumber = "20200101", "120000", 1, k + 1
        ds.PositionReferenceIndicator = ""
        ds.ImagePositionPatient = [float(x) for x in affine @ [0, 0, k, 1]][:3]
        step_i, step_j = affine[:3, 0], affine[:3, 1]
        directions = [*(step_i / np.linalg.norm(step_i)), *(step_j / np.linalg.norm(step_j))]
        ds.ImageOrientationPatient = [float(x) for x in directions]
        ds.PixelSpacing = [float(np.linalg.norm(step_j)), float(np.linalg.norm(step_i))]
        ds.SliceThickness = float(np.linalg.norm(affine[:3, 2]))
        ds.Rows, ds.Columns = array.shape[1], array.shape[0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        ds.PixelData = array[:, :, k].T.astype("<u2").tobytes()
        answer = requests.post(f"{url}/instances", data=file_of(ds), timeout=60)
        assert answer.status_code == 200, answer.text
    return str(series)


def file_of(ds):
    content = BytesIO()
    pydicom.dcmwrite(content, ds, write_like_original=False)
    return content.getvalue()


@pytest.fixture(scope="module")
def series(orthanc, cases):
    """UIDs of six series, and the labels that belong to them."""
    return [(upload(orthanc, image), label) for image, label in cases[:6]]


@pytest.fixture(scope="module")
def server(label_python, orthanc, series, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served pacs")
    with serving(label_python, folder, f"{orthanc}/dicom-web") as running:
        yield running


def in_ras(path):
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj), image.affine


def saved(answer, path):
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def instances(orthanc, modality):
    found = requests.get(f"{orthanc}/dicom-web/series", params={"Modality": modality}, timeout=60).json()
    return [one["0020000E"]["Value"][0] for one in found]


def segmentation_of(orthanc, uid, folder):
    """The segments of a DICOM SEG series in Orthanc, by dcmqi: label map in RAS axes and its affine."""
    (found,) = requests.post(f"{orthanc}/tools/lookup", data=uid, timeout=60).json()
    (instance,) = requests.get(f"{orthanc}/series/{found['ID']}", timeout=60).json()["Instances"]
    file = folder / "seg.dcm"
    file.write_bytes(requests.get(f"{orthanc}/instances/{instance}/file", timeout=60).content)
    return by_dcmqi(file, folder), pydicom.dcmread(file)


def by_dcmqi(file, folder):
    program = shutil.which(
        "segimage2itkimage", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    )
    if program is None:
        pytest.skip("dcmqi isn't installed: pip install dcmqi")
    out = folder / "segments"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [program, "--inputDICOM", file, "--outputDirectory", out, "--outputType", "nii", "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = out.glob("*.nii.gz")
    return in_ras(found)


def pasted(segmentation, shape, affine):
    """The segmentation on a whole grid: SEG leaves empty slices out."""
    array, own = segmentation
    start = np.round(np.linalg.solve(affine, own[:, 3])[:3]).astype(int)
    whole = np.zeros(shape, array.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, array.shape, strict=True))] = array
    return whole


def test_a_series_is_segmented_by_its_uid(server, series, cases, label_python, tmp_path):
    assert server.get("/info/").json()["datastore"]["total"] == 6
    mask, affine = in_ras(saved(server.infer(series[0][0]), tmp_path / "mask.nii.gz"))
    truth, own = in_ras(series[0][1])
    assert mask.shape == truth.shape and np.allclose(affine, own, atol=1e-3)
    for value in (1, 2):
        dice = 2 * ((mask == value) & (truth == value)).sum() / ((mask == value).sum() + (truth == value).sum())
        assert dice > 0.8
    image = server.work / "dicom"
    (nifti,) = image.rglob(f"{series[0][0]}.nii.gz")
    done = ulite(label_python, "predict", "-i", nifti, "-o", "expected.nii.gz", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert np.array_equal(mask, in_ras(tmp_path / "expected.nii.gz")[0])


def test_a_dicom_seg_is_returned_with_the_same_mask(server, series, tmp_path):
    mask, affine = in_ras(saved(server.infer(series[0][0]), tmp_path / "mask.nii.gz"))
    answer = server.infer(series[0][0], "dicom_seg", label_info=SEGMENTS)
    found = by_dcmqi(saved(answer, tmp_path / "seg.dcm"), tmp_path)
    assert np.array_equal(pasted(found, mask.shape, affine), mask)
    time.sleep(1)  # just after the answer
    assert not [path for path in (server.work / "tmp").iterdir() if path.name != "sessions"]
    assert stat.S_IMODE((server.work / "dicom").stat().st_mode) == 0o700


def test_a_series_of_another_modality_is_refused(server, orthanc, cases):
    uid = upload(orthanc, cases[6][0], "CT")
    answer = server.infer(uid, "json")
    assert answer.status_code == 422 and "its modality is CT, the bundle is for MR" in answer.json()["detail"]
    assert server.infer(uid, "json", force=True).status_code == 200
    assert server.get("/info/").json()["datastore"]["total"] == 6


ELSEWHERE = """
    ..%2ftools%2fshutdown %2e%2e/tools/shutdown %2e%2e%2ftools%2fshutdown ..%252ftools%252fshutdown
    %252e%252e%252ftools%252fshutdown ..%5ctools%5cshutdown ..\\tools\\shutdown ../tools/shutdown
    studies/..%2f..%2ftools%2fshutdown studies/../../tools/shutdown studies/..;/..;/tools/shutdown
    stow/..%2ftools%2fshutdown wado/%2e%2e/tools/shutdown qido/../../tools/shutdown %2ftools/shutdown
    tools/shutdown servers servers/x/stow studies%3f/../tools studies%23 studies/1/%25 studies//
"""


@pytest.mark.parametrize("path", ELSEWHERE.split())
def test_only_the_dicomweb_of_the_pacs_is_served(server, orthanc, path):
    for method in ("GET", "POST", "PUT", "DELETE"):
        line = f"{method} /proxy/dicom/{path} HTTP/1.1"
        status, body = raw(server, line, **{"Host": "localhost", "Content-Length": "0"})
        assert status in (400, 403) and json.loads(body)["detail"], (method, path, status)
    assert requests.get(f"{orthanc}/system", timeout=30).status_code == 200


def test_a_viewer_reads_the_pacs_through_the_server(server, orthanc, series):
    (found,) = requests.get(f"{orthanc}/dicom-web/series?SeriesInstanceUID={series[0][0]}", timeout=60).json()
    study = found["0020000D"]["Value"][0]
    for path in ("studies", "qido/studies", f"wado/studies/{study}/series/{series[0][0]}/metadata", "instances"):
        answer = server.get(f"/proxy/dicom/{path}", headers={"Accept": "application/dicom+json"})
        assert answer.status_code == 200 and answer.json(), path


def test_a_viewer_stores_its_segmentation_through_the_server(server, orthanc, series, tmp_path):
    """What OHIF's own export of a DICOM SEG sends."""
    seg = saved(server.infer(series[5][0], "dicom_seg", label_info=SEGMENTS), tmp_path / "seg.dcm")
    before = set(instances(orthanc, "SEG"))
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + seg.read_bytes() + b"\r\n--x--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x', "Origin": server.url}
    answer = server.post("/proxy/dicom/wado/studies", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    (uid,) = set(instances(orthanc, "SEG")) - before
    time.sleep(3)  # the server asks again
    counts = server.get("/info/").json()["datastore"]
    assert counts == {"total": 6, "completed": 1, "label_tags": {"final": 1}}
    (found,) = requests.post(f"{orthanc}/tools/lookup", data=uid, timeout=60).json()
    requests.delete(f"{orthanc}/series/{found['ID']}", timeout=60)
    time.sleep(3)
    assert server.get("/info/").json()["datastore"]["completed"] == 0


def test_the_next_sample_is_a_series(server, series):
    uids = {uid for uid, _ in series}
    for strategy in ("first", "random", "uncertainty"):
        answer = server.post(f"/activelearning/{strategy}", json={})
        assert answer.status_code == 200 and answer.json()["id"] in uids, answer.text


def test_an_unknown_series_is_reported_and_leaves_nothing(server):
    answer = server.infer("1.2.3.4")
    assert answer.status_code == 404 and "the PACS has no series '1.2.3.4'" in answer.json()["detail"]
    assert not list((server.work / "dicom").rglob("1.2.3.4*"))
    answer = server.infer("../x")
    assert answer.status_code == 422


def test_labels_are_saved_as_dicom_seg_and_trained_on(server, orthanc, series, tmp_path):
    for uid, label in series[:3]:
        array, affine = in_ras(label)
        like = nib.load(saved(server.infer(uid), tmp_path / "mask.nii.gz"))
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(affine), nib.orientations.io_orientation(like.affine)
        )
        stored = nib.orientations.apply_orientation(array, turn).astype(np.uint8)
        nib.save(nib.Nifti1Image(stored, like.affine), tmp_path / "label.nii.gz")
        before = set(instances(orthanc, "SEG"))
        answer = server.save_label(uid, tmp_path / "label.nii.gz", label_info=SEGMENTS)
        assert answer.status_code == 200, answer.text
        (seg,) = set(instances(orthanc, "SEG")) - before
        found, ds = segmentation_of(orthanc, seg, tmp_path)
        assert np.array_equal(pasted(found, array.shape, affine), array)
        assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == uid
        assert [segment.SegmentLabel for segment in ds.SegmentSequence] == ["anterior", "posterior"]
    # A viewer's raw voxels, in the image's own order, as OHIF sends them.
    uid, _ = series[3]
    like = nib.load(saved(server.infer(uid), tmp_path / "mask.nii.gz"))
    (tmp_path / "label.bin").write_bytes(np.asarray(like.dataobj).astype(np.uint8).tobytes(order="F"))
    assert server.save_label(uid, tmp_path / "label.bin", label_info=SEGMENTS).status_code == 200
    assert server.save_label(uid, tmp_path / "label.bin").status_code == 422  # no names
    (tmp_path / "label.bin").write_bytes(b"x")
    answer = server.save_label(uid, tmp_path / "label.bin", label_info=SEGMENTS)
    assert answer.status_code == 422 and "the label has 1 voxels" in answer.json()["detail"]
    empty = nib.Nifti1Image(np.zeros(like.shape, np.uint8), like.affine)
    nib.save(empty, tmp_path / "label.nii.gz")
    answer = server.save_label(uid, tmp_path / "label.nii.gz", label_info=SEGMENTS)
    assert answer.status_code == 422 and "the label is empty" in answer.json()["detail"]
    state = server.train(max_epochs=1, val_split=0)
    assert state["status"] == "DONE", state["details"]
    assert server.infer(uid, "json").json()["version"] == 1
    trained = sorted((server.work / "model" / "hippocampus" / "versions" / "0001" / "labels").iterdir())
    assert {path.name.removesuffix(".nii.gz") for path in trained} == {uid for uid, _ in series[:4]}


def test_labels_are_read_back_from_the_pacs_by_a_server_that_never_saw_them(
    label_python, orthanc, server, series, tmp_path
):
    """After the test before: the cache is gone, and DICOM SEG has no empty slices."""
    corrected = corrected_label(server, series[0][0], tmp_path)
    foreign = segmentation_by_another_program(orthanc, server, series[4][0], tmp_path)
    with serving(label_python, tmp_path, f"{orthanc}/dicom-web") as fresh:
        counts = fresh.get("/info/").json()["datastore"]
        assert counts == {"total": 6, "completed": 5, "label_tags": {"final": 5}}
        state = fresh.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE", state["details"]
        for uid, label in series[1:3]:
            (path,) = fresh.work.rglob(f"versions/0001/labels/{uid}.nii.gz")
            assert np.array_equal(in_ras(path)[0], in_ras(label)[0])
        (path,) = fresh.work.rglob(f"versions/0001/labels/{series[0][0]}.nii.gz")
        assert np.array_equal(in_ras(path)[0], corrected)
        verdict = fresh.get("/info/").json()["train_stats"]["hippocampus"]["verdict"]
        assert f"Left out: {series[4][0]}: " in verdict and f"has a segment {foreign!r}" in verdict
        assert fresh.get("/info/").json()["datastore"] == counts

        # A newer one arrives in the PACS while the server runs.
        corrected = corrected_label(server, series[1][0], tmp_path)
        state = fresh.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE", state["details"]
        (path,) = fresh.work.rglob(f"versions/0002/labels/{series[1][0]}.nii.gz")
        assert np.array_equal(in_ras(path)[0], corrected)


def corrected_label(server, uid, folder):
    """Save another label of a series, which has the second class alone; returns its array in RAS axes."""
    time.sleep(1.1)  # a SEG's time is in whole seconds
    like = nib.load(saved(server.infer(uid), folder / "mask.nii.gz"))
    array = 2 * (np.asarray(like.dataobj) == 2).astype(np.uint8)
    nib.save(nib.Nifti1Image(array, like.affine), folder / "label.nii.gz")
    answer = server.save_label(uid, folder / "label.nii.gz", label_info=SEGMENTS)
    assert answer.status_code == 200, answer.text
    return in_ras(folder / "label.nii.gz")[0]


def segmentation_by_another_program(orthanc, server, uid, folder):
    """Store a SEG of something else for a series; returns its segment's name."""
    answer = server.infer(uid, "dicom_seg", label_info=[{"name": "liver"}, {"name": "spleen"}])
    requests.post(f"{orthanc}/instances", data=saved(answer, folder / "seg.dcm").read_bytes(), timeout=60)
    time.sleep(3)  # the server asks again
    return "liver"


def test_no_log_names_the_patient(server):
    log = (server.work.parent / "server.log").read_text() + (server.work / "logs" / "app.log").read_text()
    assert len(log) > 1000 and PATIENT not in log and "Doe" not in log


def test_a_pacs_that_is_gone_is_reported(label_python, cases, tmp_path):
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.is_file():
        pytest.skip("Orthanc isn't installed: apt-get install orthanc orthanc-dicomweb")
    (tmp_path / "pacs").mkdir()
    with running_orthanc(program, tmp_path / "pacs") as url:
        uid = upload(url, cases[0][0])
        with serving(label_python, tmp_path, f"{url}/dicom-web") as server:
            assert server.infer(uid, "json").status_code == 200
            requests.post(f"{url}/tools/shutdown", timeout=30)
            time.sleep(2)
            answer = server.infer("1.2.3.4", "json")
            assert answer.status_code == 502 and "127.0.0.1" in answer.json()["detail"]
