"""The command `ulite serve`, before a server runs."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import environment
from tests.label.conftest import serving, ulite


def test_without_studies_it_says_what_to_give(tmp_path):
    done = ulite(sys.executable, "serve", cwd=tmp_path)
    assert done.returncode == 1 and "--studies is missing" in done.stderr and not list(tmp_path.iterdir())


def test_the_wrong_environment_is_reported_with_the_command_that_makes_one(tmp_path):
    if "ULITE_LABEL_PYTHON" not in os.environ and __import__("importlib.util").util.find_spec("monailabel"):
        pytest.skip("this environment is the right one")
    done = ulite(sys.executable, "serve", "--studies", ".", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "monailabel is missing" in done.stderr and "pip install --no-deps monailabel==" in done.stderr


def test_the_apps_folder_is_printed(tmp_path):
    done = ulite(sys.executable, "serve", "--print-app", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() == str((tmp_path / "ulite-label").resolve())
    assert (tmp_path / "ulite-label" / "main.py").is_file()
    assert (tmp_path / "ulite-label" / "model" / "hippocampus" / "bundle" / "models" / "model.pt").is_file()


def test_exporting_what_is_not_there_is_one_line(tmp_path):
    done = ulite(sys.executable, "serve", "--export", "liver", "out", cwd=tmp_path)
    assert done.returncode == 1 and "has no model 'liver'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--studies", "gone"], "gone: is no folder"),
        (["--studies", ".", "--bundle", "liver"], "liver: is no bundle"),
        (["--studies", ".", "--host", "0.0.0.0"], "MONAI_LABEL_AUTH_ENABLE=true"),
        (["--studies", ".", "--host", "192.0.2.1"], "MONAI_LABEL_AUTH_REALM_URI"),
        (["--studies", ".", "--port", "99999"], "--port 99999"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_one_line(label_python, arguments, words, tmp_path):
    done = ulite(label_python, "serve", *arguments, cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr


@pytest.mark.slow
def test_a_port_that_is_taken_is_reported(label_python, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = ulite(label_python, "serve", "--studies", ".", "--port", port, cwd=tmp_path)
    assert done.returncode == 1 and "give another port" in done.stderr


@pytest.mark.slow
def test_with_authentication_another_host_starts_and_asks_for_a_token(label_python, tmp_path):
    (tmp_path / "studies").mkdir()
    variables = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": "http://127.0.0.1:9/realms/x"}
    with serving(label_python, tmp_path, tmp_path / "studies", "--host", "0.0.0.0", open_to="/auth/", **variables) as s:
        assert s.get("/auth/").json()["enabled"] is True
        for method, path in (("GET", "/info/"), ("POST", "/infer/hippocampus?image=x"), ("GET", "/datastore/")):
            assert s.request(method, path).status_code == 401, path


@pytest.mark.slow
def test_monai_labels_own_command_starts_the_app(label_python, cases, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "a.nii.gz").write_bytes(cases[0][0].read_bytes())
    app = ulite(label_python, "serve", "--print-app", "--work", "work", cwd=tmp_path).stdout.strip()
    command = [label_python, "-m", "monailabel.main", "start_server", "--app", app, "--studies", "studies"]
    with serving(label_python, tmp_path, tmp_path / "studies", "--host", "127.0.0.1", command=command) as server:
        assert server.infer("a").status_code == 200
        assert server.infer("b").status_code == 404


def test_the_help_is_fast_and_needs_no_monai_label(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from ulite_monai.cli import main; main()", "serve", "--help"],
        env=environment() | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "--studies" in done.stdout and "--allow-origin" in done.stdout
