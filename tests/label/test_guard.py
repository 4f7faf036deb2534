"""Which requests the server takes: by whose name, from which page, to what, and what they leave behind."""

import itertools
import json
import shutil
import socket
import stat
import threading
import time

import nibabel as nib
import numpy as np
import pytest
import requests

from tests.conftest import write_volume
from tests.label.conftest import raw, serving

pytestmark = pytest.mark.slow

NAME = "hippocampus_001"


@pytest.fixture(scope="module")
def server(label_python, cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "studies").mkdir()
    shutil.copy(cases[0][0], folder / "studies")
    (folder / "studies" / "broken.nii.gz").write_bytes(b"not a volume")
    left = folder / "work" / "tmp" / "left by a killed server"
    left.mkdir(parents=True)
    (left / "patient.dcm").write_bytes(b"x")
    with serving(label_python, folder, folder / "studies", "--allow-host", "label.example") as running:
        running.work.joinpath("tmp", "sessions").mkdir(exist_ok=True)
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "label.example"])
def test_known_names_are_answered(server, host):
    for port in ("", ":8000"):
        assert server.get("/info/", headers={"Host": host + port}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8102", "localhost.evil.com", "127.0.0.1.evil.com", "localhost@evil.com", "0.0.0.0"]
)
def test_a_page_that_calls_the_server_by_its_own_name_is_refused(server, host):
    """DNS rebinding: the page's origin is the host that it asks."""
    for origin in ({}, {"Origin": f"http://{host}"}):
        for method, path in (("GET", "/info/"), ("GET", "/"), ("GET", "/static/x"), ("POST", "/proxy/dicom/studies")):
            answer = server.request(method, path, headers={"Host": host, **origin})
            assert answer.status_code == 403 and "--allow-host NAME" in answer.json()["detail"], (host, path)


UPWARDS = """
    /static/../x /static/%2e%2e/x /static/..%2fx /static/%252e%252e/x /static/..%5cx /static/..;/x /ohif/.%2e/x
    /ohif/%25252e%25252e/x /session/%2e%2e /info/%00
"""


@pytest.mark.parametrize("path", UPWARDS.split())
def test_no_path_leads_upwards(server, path):
    status, body = raw(server, f"GET {path} HTTP/1.1", Host="localhost")
    assert status == 400 and "segments of dots" in json.loads(body)["detail"]


def test_without_a_pacs_there_is_no_proxy(server):
    answer = server.get("/proxy/dicom/studies")
    assert answer.status_code == 404 and "there is no PACS" in answer.json()["detail"]


def test_the_private_folder_is_empty_from_the_start_and_after_every_request(server, cases, tmp_path):
    image, label = cases[0]
    private = server.work / "tmp"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    too_large = write_volume(tmp_path / "large.nii.gz", np.zeros((200, 20, 20), np.float32))
    statuses = [server.infer(NAME).status_code, server.infer("broken").status_code]
    for path in (image, tmp_path / "broken.nii.gz", too_large):
        for model in ("hippocampus", "liver"):
            with path.open("rb") as content:
                answer = server.post(f"/infer/{model}?output=image", files={"file": (path.name, content)})
            statuses.append(answer.status_code)
    statuses += [server.save_label(name, label).status_code for name in (NAME, "nobody")]
    with image.open("rb") as content:
        statuses.append(
            server.post(f"/infer/hippocampus?image={NAME}", files={"label": ("x.bin", content)}).status_code
        )
    statuses.append(server.get("/datastore/dataset").status_code)
    assert statuses == [200, 422, 200, 404, 422, 404, 422, 404, 200, 404, 422, 200]
    assert left_in(private) == ["sessions"] and not list((private / "sessions").iterdir())


def left_in(private):
    """What is in the private folder when all requests have ended, which is just after their answers."""
    for _ in itertools.takewhile(lambda _: len(list(private.iterdir())) > 1, range(40)):
        time.sleep(0.25)
    return [path.name for path in private.iterdir()]


def test_a_session_ends_with_the_server_at_the_latest(label_python, cases, tmp_path):
    (tmp_path / "studies").mkdir()
    with serving(label_python, tmp_path, tmp_path / "studies") as server, cases[0][0].open("rb") as content:
        answer = server.request("PUT", "/session/", files={"files": ("a.nii.gz", content)})
        assert answer.status_code == 200
        assert left_in(server.work / "tmp") == ["sessions"]
        server.process.terminate()
        server.process.wait(timeout=60)
        assert not list((server.work / "tmp").iterdir())


@pytest.mark.parametrize(
    ("name", "content", "params", "status", "words"),
    [
        ("label.exe", b"x", {}, 422, "the label of hippocampus_001: its name must end in one of .nii"),
        ("label.bin", b"x", {}, 422, "its name must end in one of .nii"),
        ("label.nii.gz", b"x", {}, 422, "the label of hippocampus_001: "),
        ("moved", None, {}, 422, "the label of hippocampus_001: its voxels aren't voxels of its image"),
        ("good", None, {"label_info": [{"name": "liver", "idx": 1}]}, 422, "has a segment 'liver'"),
        ("good", None, {"label_info": {"liver": 1}}, 422, "label_info must be a list"),
        ("good", None, [1], 400, "a JSON object of options is needed"),
        ("good", None, {"note": float("nan")}, 400, "what must be JSON isn't"),
        ("good", None, {}, 200, ""),
    ],
)
def test_a_label_is_checked_when_it_is_saved(server, cases, tmp_path, name, content, params, status, words):
    path = tmp_path / name
    if content is None:
        truth = nib.load(cases[0][1])
        shift = np.diag([0, 0, 0.7 * (name == "moved"), 0])
        path = write_volume(tmp_path / "label.nii.gz", np.asarray(truth.dataobj), truth.affine + shift)
    else:
        path.write_bytes(content)
    with path.open("rb") as file:
        answer = server.request(
            "PUT",
            f"/datastore/label?image={NAME}",
            files={"label": (path.name, file)},
            data={"params": json.dumps(params)},
        )
    assert answer.status_code == status, answer.text
    if status != 200:
        assert words in answer.json()["detail"] and str(server.work) not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "words"),
    [
        ("POST", "/infer/wsi_v2/hippocampus", {}, 404, "whole-slide images aren't segmented here"),
        ("POST", "/scoring/dice", {}, 404, "there is no scoring method"),
        ("POST", "/reload", {}, 405, "isn't reloaded over HTTP"),
        ("POST", "/train/hippocampus?run_sync=true", {"json": {}}, 422, "run_sync isn't offered"),
        ("POST", "/batch/infer/hippocampus?run_sync=1", {"json": {}}, 422, "run_sync isn't offered"),
        ("POST", "/train/hippocampus", {"data": "[1]"}, 400, "a JSON object of options is needed"),
        ("POST", f"/infer/hippocampus?image={NAME}", {"data": {"params": "[1]"}}, 400, "a JSON object of options"),
        (
            "POST",
            f"/infer/hippocampus?image={NAME}",
            {"data": {"params": '{"model": ["x"]}'}},
            422,
            "model must be a text",
        ),
        ("POST", "/infer/hippocampus?session_id=x", {}, 404, "no image is named"),
        ("POST", "/infer/hippocampus", {"files": {"file": ("x.png", b"x")}}, 422, "it is a 2D image, and this bundle"),
        ("POST", "/infer/hippocampus", {"files": {"file": ("x.nii.gz", b"x")}}, 422, "the upload: "),
        ("POST", "/infer/hippocampus", {"files": {"file": ("x." + "a" * 300, b"x")}}, 422, "can't be a file's"),
        ("PUT", "/session/", {"files": {"files": ("..", b"x")}}, 422, "can't be a file's"),
        ("POST", "/batch/infer/hippocampus", {"json": {"model": "liver"}}, 404, "there is no model 'liver'"),
        ("POST", "/train/hippocampus", {"json": {"model": "liver"}}, 404, "there is no model to train 'liver'"),
        ("POST", "/activelearning/first", {"json": {"strategy": ["x"]}}, 422, "strategy must be a text"),
        ("POST", "/activelearning/first", {"data": '{"client_id": "\\ud800"}'}, 400, "what must be JSON isn't"),
        ("POST", "/activelearning/first", {"data": '{"client_id": 1e400}'}, 400, "what must be JSON isn't"),
        ("GET", "/logs/?lines=99999999999999999999", {}, 422, "OverflowError"),
        ("GET", f"/datastore/image?image={NAME}&check_sum=FOO:x", {}, 422, "check_sum must be hexadecimal"),
        ("DELETE", "/datastore/label?id=x&tag=final", {}, 404, "there is no label 'x'"),
        ("PUT", f"/datastore/image/info?image={NAME}", {"data": {"info": '"x"'}}, 400, "a JSON object of options"),
        ("PUT", "/session/?uncompress=true", {"files": {"files": ("a.tar", b"x")}}, 422, "only one zip archive"),
        ("PUT", "/datastore/image?image=x", {"files": {"file": ("x.exe", b"x")}}, 422, "must end in one of .nii.gz"),
    ],
)
def test_wrong_requests_get_a_sentence(server, method, path, more, status, words):
    answer = server.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_several_files_of_a_session_are_not_sent_back(server):
    files = [("files", ("a.dcm", b"a")), ("files", ("b.dcm", b"b"))]
    session = server.request("PUT", "/session/", files=files).json()["session_id"]
    answer = server.get(f"/session/{session}?image=true")
    assert answer.status_code == 422 and "is of several files" in answer.json()["detail"]
    assert server.request("DELETE", f"/session/{session}").status_code == 200


def test_a_slow_request_keeps_no_other_waiting(server):
    """A body that doesn't come, and an answer that is being made."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"POST /train/hippocampus HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        busy = threading.Thread(target=lambda: [server.infer(NAME) for _ in range(20)])
        busy.start()
        answered = 0
        while busy.is_alive():
            assert requests.get(server.url + "/info/", timeout=60).status_code == 200
            answered += 1
            time.sleep(0.02)
        assert answered > 1
