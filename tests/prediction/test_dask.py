"""Cases as tasks of a Dask cluster of real processes: none is lost, none is there twice, whoever dies."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import write_volume
from tests.prediction.conftest import FREE, statuses, volume
from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError
from ulite_monai.prediction import Part, PredictOptions, merge_parts, predict_cases
from ulite_monai.prediction import dask_runner as module

pytest.importorskip("distributed")

NAMES = [f"case_{number}" for number in range(8)]
STOPS = "case_3"  # is a pipe, so a worker waits in the middle of it


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine; each that dies is replaced."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"logging.distributed": "critical"}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def runner(cluster, weights):
    return module.DaskRunner(cluster.scheduler_address, "hippocampus", weights, "cpu", overrides=FREE)


@pytest.fixture
def cohort(tmp_path):
    """Eight cases in a data list, of which one is a pipe, and the volume that it stands for."""
    for seed, name in enumerate(NAMES):
        write_volume(tmp_path / "in" / f"{name}.nii.gz", volume(seed))
    whole = tmp_path / "whole.nii.gz"
    (tmp_path / "in" / f"{STOPS}.nii.gz").rename(whole)
    os.mkfifo(tmp_path / "in" / f"{STOPS}.nii.gz")
    (tmp_path / "list.json").write_text(json.dumps([f"in/{name}.nii.gz" for name in NAMES]))
    return whole


def kill_the_worker_at(case, cluster):
    from distributed import Client

    with Client(cluster.scheduler_address) as client:
        for _ in range(1200):  # a worker that was just started imports first
            busy = [one for one, keys in client.processing().items() if any(key.startswith(case) for key in keys)]
            calls = client.call_stack() if busy else {}
            if busy and any(key.startswith(case) for key in calls.get(busy[0], {})):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"no worker is at {case}: {client.processing()}")
        (pid,) = client.run(os.getpid, workers=busy).values()
    os.kill(pid, signal.SIGKILL)


def visible(folder):
    """What lies there but for what a killed worker left half written."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".partial"))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_mid_case_loses_none(cluster, runner, segmenter, cohort, tmp_path):
    seen = []

    def on_result(result, number, total):
        seen.append(result.id)
        if len(seen) == 1:
            cohort.replace(tmp_path / "in" / f"{STOPS}.nii.gz")
            kill_the_worker_at(STOPS, cluster)

    options = PredictOptions(statistics=True, preview=True)
    source = tmp_path / "list.json"
    results = predict_cases(source, tmp_path / "out", segmenter, options, on_result, runner)
    assert sorted(seen) == NAMES and statuses(results) == dict.fromkeys(NAMES, "done")
    predict_cases(source, tmp_path / "one", segmenter, options)
    assert visible(tmp_path / "out") == visible(tmp_path / "one")
    ours, whole = (json.loads((tmp_path / name / "predictions.json").read_text()) for name in ("out", "one"))
    assert ours["files"] == whole["files"]
    assert [case["id"] for case in ours["cases"]] == NAMES
    again = predict_cases(source, tmp_path / "out", segmenter, PredictOptions(resume=True, preview=True), run=runner)
    assert set(statuses(again).values()) == {"skipped"}


@pytest.mark.slow
def test_parts_may_run_on_workers_and_others_weights_are_refused(runner, segmenter, make_inputs, tmp_path):
    folder = make_inputs(*NAMES[:3])
    for number in (1, 2):
        predict_cases(folder, tmp_path / "out", segmenter, PredictOptions(part=Part(number, 2)), run=runner)
    merged = merge_parts(tmp_path / "out")
    assert statuses(merged.results) == dict.fromkeys(NAMES[:3], "done") and merged.missing == []
    own = module.DaskRunner(runner.cluster)
    with pytest.raises(InputError, match=r"the worker at tcp.* has other weights and overrides and settings"):
        predict_cases(folder, tmp_path / "other", segmenter, run=own)


def test_a_case_that_kills_its_workers_has_failed():
    from distributed import KilledWorker

    class Killed:
        def result(self):
            raise KilledWorker("case_3", None, 0)

    result = module._result(Killed(), Case("case_3", [Path("case_3.nii.gz")]), work=None)
    assert (result.id, result.status) == ("case_3", "failed")
    assert "every worker that took it died" in result.message


@pytest.mark.slow
def test_what_is_no_cluster_is_refused(segmenter, make_inputs, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--dask local:0: give a number of processes, local:4 say"):
        module.DaskRunner("local:0")
    monkeypatch.setattr(module, "CONNECTING", 0.2)
    for address in ("tcp://127.0.0.1:9", "no address"):
        with pytest.raises(InputError, match=f"--dask {address}: no scheduler answers there"):
            predict_cases(make_inputs("a"), tmp_path / "out", segmenter, run=module.DaskRunner(address))
