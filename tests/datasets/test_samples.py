"""The sample without a download, and the download against a server on this machine."""

import hashlib
import http.server
import tarfile
import threading

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import read_json
from ulite_monai.datasets.layouts import find_layout
from ulite_monai.datasets.samples import BLOCK, download_hippocampus, make_sample
from ulite_monai.errors import InputError


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    pytest.importorskip("nilearn", reason="the sample extra isn't installed")
    return make_sample(tmp_path_factory.mktemp("sample") / "data")


def test_sample_is_blocks_of_the_template_that_do_not_overlap(sample):
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    cases = find_layout(sample).cases
    assert len(cases) == read_json(sample / "dataset.json")["numTraining"] >= 20
    origins = set()
    for case in cases:
        image, label = nib.load(case.image[0]), nib.load(case.label)
        assert image.shape == label.shape == (BLOCK,) * 3
        assert np.array_equal(image.affine, label.affine)
        start = np.linalg.solve(template.affine, image.affine)[:3, 3]
        assert np.array_equal(start % BLOCK, [0, 0, 0])
        origins.add(tuple(start))
        values = np.unique(label.dataobj)
        assert set(values) <= {0, 1, 2} and 1 in values
    assert len(origins) == len(cases)


def test_sample_voxels_are_the_templates(sample):
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    image = nib.load(find_layout(sample).cases[3].image[0])
    start = np.linalg.solve(template.affine, image.affine)[:3, 3].astype(int)
    block = tuple(slice(s, s + BLOCK) for s in start)
    assert np.abs(np.asarray(image.dataobj) / 1000 - np.asarray(template.dataobj)[block]).max() <= 0.0005


def test_sample_is_made_once(sample):
    before = {p: p.stat().st_mtime_ns for p in sample.rglob("*.nii.gz")}
    make_sample(sample)
    assert {p: p.stat().st_mtime_ns for p in sample.rglob("*.nii.gz")} == before


@pytest.fixture
def server(tmp_path):
    """A server on loopback with a tar of a tiny data set; gives its URL and the tar's MD5."""
    source = tmp_path / "source" / "Task04_Hippocampus"
    source.mkdir(parents=True)
    (source / "dataset.json").write_text('{"training": []}')
    archive = tmp_path / "source" / "Task04_Hippocampus.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(source, arcname="Task04_Hippocampus")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(archive.parent))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield (
            f"http://127.0.0.1:{running.server_address[1]}/{archive.name}",
            hashlib.md5(archive.read_bytes()).hexdigest(),
        )
        running.shutdown()


def test_download(server, tmp_path):
    url, md5 = server
    folder = download_hippocampus(tmp_path / "data", url=url, md5=md5)
    assert folder == tmp_path / "data" / "Task04_Hippocampus"
    assert read_json(folder / "dataset.json") == {"training": []}
    assert download_hippocampus(tmp_path / "data", url="http://127.0.0.1:9/gone", md5=md5) == folder


def test_download_of_another_file_is_refused_and_not_kept(server, tmp_path):
    url, _ = server
    with pytest.raises(InputError, match="isn't the expected one"):
        download_hippocampus(tmp_path / "data", url=url, md5="0" * 32)
    assert list((tmp_path / "data").iterdir()) == []


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"can't be reached .*copy Task04_Hippocampus\.tar"):
        download_hippocampus(tmp_path, url="http://127.0.0.1:9/Task04_Hippocampus.tar")
