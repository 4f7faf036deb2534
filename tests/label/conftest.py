"""The real MONAI Label server, in its own environment, over real HTTP."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import environment

START_SECONDS = 120
VARIABLE = "ULITE_LABEL_PYTHON"


@pytest.fixture(scope="session")
def label_python():
    """The interpreter of an environment with MONAI Label: $ULITE_LABEL_PYTHON, or this one."""
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if importlib.util.find_spec("monailabel") is None:
        pytest.skip(f"MONAI Label isn't installed here; set {VARIABLE} to the Python of an environment that has it")
    return sys.executable


@pytest.fixture(scope="session")
def cases(hippocampus):
    """Paths of labelled hippocampus volumes: (image, label), sorted by name."""
    images = sorted((hippocampus / "imagesTr").glob("hippocampus_*.nii.gz"))
    return [(image, hippocampus / "labelsTr" / image.name) for image in images]


@pytest.fixture(scope="session")
def my_run(bundle, cases, tmp_path_factory):
    """What a training leaves, of other classes and another spacing than the shipped bundle's; it starts from that."""
    folder = tmp_path_factory.mktemp("trained")
    for image, label in cases[:3]:
        for source in (image, label):
            (folder / "data" / source.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / "data" / source.parent.name)
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--bundle_root", str(bundle)]
    command += ["--config_file", str(bundle / "configs" / "train.json"), "--dataset_dir", "data"]
    command += ["--labels", "['head','tail']", "--spacing", "[1.2,1.2,1.2]", "--epochs", "1", "--num_folds", "3"]
    command += ["--init_weights", str(bundle / "models" / "model.pt"), "--output_dir", "my_run"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "my_run"


def ulite(python, *arguments, cwd, **variables):
    """Run `ulite` by an interpreter."""
    command = [python, "-W", "ignore", "-c", "from ulite_monai.cli import main; main()", *map(str, arguments)]
    variables = environment() | {"COLUMNS": "200"} | variables
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=600)


class Server:
    """A running server.

    Attributes:
        url: where.
        work: the app's folder.
        studies: the folder of images, or a URL.
        process: the server's; it leads its own process group.
    """

    def __init__(self, url, work, studies, process):
        self.url, self.work, self.studies, self.process = url, Path(work), studies, process

    def request(self, method, path, **more):
        return requests.request(method, self.url + path, timeout=300, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def infer(self, image, output="image", model="hippocampus", **params):
        return self.post(
            f"/infer/{model}", params={"image": image, "output": output}, data={"params": json.dumps(params)}
        )

    def save_label(self, image, file, tag="final", **params):
        with open(file, "rb") as content:
            return self.request(
                "PUT",
                "/datastore/label",
                params={"image": image, "tag": tag},
                files={"label": (Path(file).name, content)},
                data={"params": json.dumps(params)},
            )

    def train(self, model="hippocampus", **options):
        """Train and wait for the end; returns the task's state."""
        answer = self.post(f"/train/{model}", json=options)
        assert answer.status_code == 200, answer.text
        return self.wait("/train/")

    def wait(self, path, seconds=300):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.get(path).json()
            if state["status"] in ("DONE", "ERROR"):
                return state
            time.sleep(0.5)
        raise AssertionError(f"{path} didn't end in {seconds} s: {state}")

    def kill(self, how=signal.SIGTERM):
        """End the server and what it started."""
        os.killpg(self.process.pid, how)
        self.process.wait(timeout=30)


def raw(server, line, **headers):
    """The status and body of a request whose path no client touches."""
    port = int(server.url.rpartition(":")[2])
    lines = [line, *(f"{name}: {value}" for name, value in headers.items()), "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def free_port():
    """A port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(python, folder, studies, *arguments, command=None, open_to="/info/", **variables):
    """A server of the given studies; its log is `<folder>/server.log`."""
    port = free_port()
    start = command or [
        *(python, "-W", "ignore", "-c", "from ulite_monai.cli import main; main()", "serve"),
        *("--studies", str(studies), "--work", str(folder / "work")),
    ]
    log = folder / "server.log"
    with log.open("a") as output:
        process = subprocess.Popen(
            [*start, *map(str, arguments), "--port", str(port)],
            cwd=folder,
            env=environment() | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", folder / "work", studies, process)
    try:
        _wait_until_up(server, log, open_to)
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def _wait_until_up(server, log, path):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            if server.get(path).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(f"the server didn't start:\n{log.read_text()[-4000:]}")
