"""What viewers ask of the server, and what it answers to wrong requests."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import requests

from tests.conftest import environment, write_volume
from tests.label.conftest import serving, ulite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(label_python, cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a server")
    (folder / "studies").mkdir()
    for image, _ in cases[:8]:
        shutil.copy(image, folder / "studies")
    write_volume(folder / "studies" / "far_too_large.nii.gz", np.zeros((200, 20, 20), np.float32))
    (folder / "studies" / "broken.nii.gz").write_bytes(b"not a volume")
    with serving(label_python, folder, folder / "studies", "--bundle", "hippocampus") as running:
        yield running


@pytest.fixture(scope="module")
def predicted(label_python, server, cases, tmp_path_factory):
    """What `ulite predict` makes of the first eight cases."""
    folder = tmp_path_factory.mktemp("predicted")
    (folder / "in").mkdir()
    for image, _ in cases[:8]:
        shutil.copy(image, folder / "in")
    done = ulite(label_python, "predict", "-i", "in", "-o", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def ids(cases, number=8):
    return [image.name.removesuffix(".nii.gz") for image, _ in cases[:number]]


def saved(answer, path):
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def test_info_lists_models_trainers_strategies_and_images(server):
    info = server.get("/info/").json()
    assert info["labels"] == ["anterior", "posterior"]
    assert info["models"]["hippocampus"]["labels"] == {"anterior": 1, "posterior": 2}
    assert info["models"]["hippocampus"]["type"] == "segmentation" and info["models"]["hippocampus"]["dimension"] == 3
    assert info["trainers"]["hippocampus"]["config"] == {"max_epochs": 50, "val_split": 0.2, "pretrained": True}
    assert set(info["strategies"]) == {"random", "first", "uncertainty"}
    assert info["datastore"]["total"] == 10


def test_the_mask_is_that_of_ulite_predict(server, cases, predicted, tmp_path):
    for name in ids(cases):
        mask = nib.load(saved(server.infer(name), tmp_path / "mask.nii.gz"))
        expected = nib.load(predicted / f"{name}.nii.gz")
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
        assert mask.header.binaryblock == expected.header.binaryblock and np.asarray(mask.dataobj).any()


def test_a_viewer_that_wants_nrrd_gets_the_same_mask(server, cases, predicted, tmp_path):
    import SimpleITK as sitk

    name = ids(cases)[0]
    params = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}
    mask = sitk.ReadImage(str(saved(server.infer(name, **params, restore_label_idx=False), tmp_path / "mask.nrrd")))
    expected = sitk.ReadImage(str(predicted / f"{name}.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(expected))
    assert np.allclose(mask.GetOrigin(), expected.GetOrigin(), atol=1e-4)
    assert np.allclose(mask.GetDirection(), expected.GetDirection(), atol=1e-4)


def test_an_uploaded_image_is_segmented_and_not_kept(server, cases, predicted, tmp_path):
    before = server.get("/info/").json()["datastore"]["total"]
    image = cases[0][0]
    with image.open("rb") as content:
        answer = server.post("/infer/hippocampus?output=image", files={"file": (image.name, content)})
    mask = nib.load(saved(answer, tmp_path / "mask.nii.gz"))
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(nib.load(predicted / image.name).dataobj))
    assert server.get("/info/").json()["datastore"]["total"] == before


def test_json_names_the_labels(server, cases):
    answer = server.infer(ids(cases)[0], output="json").json()
    assert answer["label_names"] == {"anterior": 1, "posterior": 2} and answer["version"] == 0


def test_eight_requests_at_once_get_their_own_masks(server, cases, predicted, tmp_path):
    names = ids(cases)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.infer, names))
    for name, answer in zip(names, answers, strict=True):
        mask = nib.load(saved(answer, tmp_path / f"{name}.nii.gz"))
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(nib.load(predicted / f"{name}.nii.gz").dataobj))


def test_next_samples(server, cases):
    images = {*ids(cases), "far_too_large", "broken"}
    assert server.post("/activelearning/first", json={}).json()["id"] == "broken"
    assert server.post("/activelearning/random", json={}).json()["id"] in images
    served = []
    for _ in range(3):
        sample = server.post("/activelearning/uncertainty", json={"client_id": "user-xyz"}).json()
        assert sample["path"].endswith(f"{sample['id']}.nii.gz")
        served.append((sample["weight"], sample["id"]))
    assert len({name for _, name in served}) == 3 and served[0][1] != "broken"
    assert all(0 <= score <= 1 for score, _ in served)
    rest = [server.post("/activelearning/uncertainty", json={}).json() for _ in range(7)]
    assert {sample["id"] for sample in rest[-2:]} == {"broken", "far_too_large"}  # not scored
    assert [sample["weight"] for sample in rest[-2:]] == [-1, -1] and all(sample["weight"] >= 0 for sample in rest[:-2])


def test_a_saved_label_comes_back_as_it_was(server, cases):
    name, (_, label) = ids(cases)[7], cases[7]
    assert server.save_label(name, label).json() == {"image": name, "label": name}
    back = server.get("/datastore/label", params={"label": name, "tag": "final"})
    assert back.status_code == 200 and back.content == label.read_bytes()
    content = server.get("/datastore/?output=all").json()
    assert "final" in content["objects"][name]["labels"]


def test_batch_segmentation_survives_a_broken_image(server, cases, predicted):
    assert server.post("/batch/infer/hippocampus").status_code == 200
    state = server.wait("/batch/infer")
    assert state["status"] == "DONE", state["details"]
    for name in ids(cases):
        mask = nib.load(server.studies / "labels" / "original" / f"{name}.nii.gz")
        assert np.array_equal(np.asarray(mask.dataobj), np.asarray(nib.load(predicted / f"{name}.nii.gz").dataobj))
    reported = "\n".join(state["details"])
    assert "broken: " in reported and "the bundle is for" in reported
    assert not list((server.studies / "labels" / "original").glob("broken*"))


CLIENT = """
import json, sys
from monailabel.client import MONAILabelClient
url, image, path, label, folder = sys.argv[1:]
client = MONAILabelClient(url, tmpdir=folder, client_id="user-xyz")
assert "hippocampus" in client.info()["models"] and not client.auth_enabled()
assert client.next_sample("first", {})["id"]
session = client.create_session(path)["session_id"]
params = {"result_extension": ".nii.gz", "result_dtype": "uint8"}
by_id, reported = client.infer("hippocampus", image, dict(params))
by_session, _ = client.infer("hippocampus", image, dict(params), session_id=session)
client.remove_session(session)
client.upload_image(path, "uploaded")
assert "uploaded" in client.datastore()["objects"]
client.save_label("uploaded", label, params={"label_info": [{"name": "anterior", "idx": 1}]})
print(json.dumps([by_id, by_session, reported, client.download_label("uploaded", "final")]))
"""


def test_the_client_of_3d_slicer(label_python, server, cases, predicted, tmp_path):
    image, label = cases[0]
    arguments = [server.url, ids(cases)[0], str(image), str(label), str(tmp_path)]
    done = subprocess.run(
        [label_python, "-W", "ignore", "-c", CLIENT, *arguments], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    by_id, by_session, reported, back = json.loads(done.stdout.splitlines()[-1])
    expected = np.asarray(nib.load(predicted / image.name).dataobj)
    for path in (by_id, by_session):
        assert np.array_equal(np.asarray(nib.load(path).dataobj), expected)
    assert reported["label_names"] == {"anterior": 1, "posterior": 2}
    assert np.array_equal(np.asarray(nib.load(back).dataobj), np.asarray(nib.load(label).dataobj))
    assert server.request("DELETE", "/datastore/image", params={"id": "uploaded"}).status_code == 200
    assert not (server.studies / "uploaded.nii.gz").exists()


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/infer/liver?image=x", 404, "there is no model 'liver'; there is hippocampus."),
        ("POST", "/infer/hippocampus?image=x", 404, "there is no image 'x'"),
        ("POST", "/infer/hippocampus?image=broken", 422, "broken.nii.gz"),
        ("POST", "/infer/hippocampus?image=far_too_large", 422, "the bundle is for"),
        ("POST", "/infer/hippocampus", 400, "Neither Image nor File"),
        ("POST", "/activelearning/best", 404, "there is no strategy 'best'; there is random, first, uncertainty."),
        ("POST", "/batch/infer/liver", 404, "there is no model 'liver'"),
        ("POST", "/train/liver", 404, "there is no model to train 'liver'; there is hippocampus."),
        ("PUT", "/model/hippocampus", 405, "weights aren't replaced over HTTP"),
        ("DELETE", "/model/hippocampus", 405, "weights aren't replaced over HTTP"),
        ("DELETE", "/datastore/image?id=x", 404, "x"),
        ("GET", "/datastore/image?image=x", 404, "NOT Found"),
        ("GET", "/session/x", 404, "Not Found"),
    ],
)
def test_a_wrong_request_gets_one_sentence(server, method, path, status, words):
    answer = server.request(method, path)
    assert answer.status_code == status and words in answer.json()["detail"], answer.text
    assert "\n" not in answer.json()["detail"]


def test_force_segments_what_lies_outside_the_bundles_ranges(server):
    assert server.infer("far_too_large", output="json", force=True).status_code == 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_epochs": 0}, "max_epochs must be a whole number"),
        ({"val_split": 1}, "val_split must be at least 0 and below 1"),
        ({"pretrained": "yes"}, "pretrained must be true or false"),
    ],
)
def test_a_wrong_option_of_a_training_is_refused(server, options, words):
    answer = server.post("/train/hippocampus", json=options)
    assert answer.status_code == 422 and words in answer.json()["detail"]


def test_bad_parameters_are_refused(server, cases):
    answer = server.post(f"/infer/hippocampus?image={ids(cases)[0]}", data={"params": "{bad"})
    assert answer.status_code == 400
    answer = server.infer(ids(cases)[0], result_extension=".exe")
    assert answer.status_code == 422 and ".nii.gz, .nii, .nrrd" in answer.json()["detail"]


def test_a_damaged_label_is_refused_when_it_is_saved(server, cases, tmp_path):
    (tmp_path / "label.nii.gz").write_bytes(b"nothing")
    answer = server.save_label(ids(cases)[0], tmp_path / "label.nii.gz")
    assert answer.status_code == 422 and "label" not in answer.json()
    answer = server.save_label("nobody", cases[0][1])
    assert answer.status_code == 404 and "there is no image 'nobody'" in answer.json()["detail"]


def test_no_id_leads_out_of_its_folder(server, cases, tmp_path):
    """Every parameter that becomes part of a path, by name, absolute and relative."""
    image, label = cases[0]
    shutil.copy(image, tmp_path / "secret.nii.gz")
    shutil.copy(image, server.studies.parent / "secret.nii.gz")
    before = {path for path in server.studies.parent.iterdir()}
    for name in ("../secret", str(tmp_path / "secret.nii.gz"), "..", "labels/../../secret", "..\\secret", "a\0b"):
        with image.open("rb") as content:
            files = {"file": ("x.nii.gz", content)}
            answers = [
                server.infer(name),
                server.post(f"/infer/hippocampus?image={ids(cases)[0]}", data={"params": json.dumps({"image": name})}),
                server.request("PUT", "/datastore/image", params={"image": name}, files=files),
                server.get("/datastore/image", params={"image": name}),
                server.save_label(name, label),
                server.save_label(ids(cases)[0], label, tag=name),
                server.request("DELETE", "/datastore/label", params={"id": ids(cases)[0], "tag": name}),
                server.post("/infer/hippocampus", params={"session_id": name}),
            ]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {404, 422}, (name, statuses, [answer.text for answer in answers])
    assert {path for path in server.studies.parent.iterdir()} == before


def test_a_page_from_elsewhere_may_not_use_the_server(server):
    answer = server.get("/info/", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403 and "--allow-origin http://evil.example" in answer.json()["detail"]
    assert server.get("/info/", headers={"Origin": server.url}).status_code == 200


def test_the_pages_of_the_server_answer(server):
    for path in ("/", "/docs", "/openapi.json", "/logs/?lines=5&html=false", "/model/info/hippocampus"):
        assert server.get(path).status_code == 200, path
    weights = requests.get(server.url + "/model/hippocampus", timeout=30)
    assert weights.content == (server.work / "model" / "hippocampus" / "bundle" / "models" / "model.pt").read_bytes()
