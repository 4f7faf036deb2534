"""Temporary files of requests, and what is left of them: nothing."""

import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ulite_monai.label.private_folder import PrivateFolder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", tempfile.gettempdir)  # put back at the end
    (tmp_path / "tmp").mkdir(mode=0o755)
    private = PrivateFolder(tmp_path / "tmp")
    private.install()
    return private


def test_temporary_files_go_into_the_requests_folder_and_end_with_it(folder):
    before = tempfile.gettempdir()
    with pytest.raises(ZeroDivisionError), folder.opened() as own:
        with tempfile.NamedTemporaryFile(suffix=".nii.gz", delete=False) as file:
            assert Path(file.name).parent == own == folder.current
        assert Path(tempfile.mkdtemp()).parent == own
        raise ZeroDivisionError
    assert not list(folder.path.iterdir()) and tempfile.gettempdir() == before and folder.current is None


@pytest.mark.skipif(sys.platform == "win32", reason="there are no permission bits")
def test_it_is_its_users_alone(folder):
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_requests_at_once_have_folders_of_their_own(folder):
    def request(number):
        with folder.opened() as own:
            tempfile.mkstemp()
            return own, len(list(own.iterdir()))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(request, range(32)))
    assert len({own for own, _ in found}) == 32 and {count for _, count in found} == {1}


def test_emptying_leaves_what_is_in_use(folder):
    (folder.path / "left by a killed server").mkdir()
    (folder.path / "left.dcm").write_bytes(b"")
    with folder.opened() as own:
        folder.empty()
        assert list(folder.path.iterdir()) == [own]
