"""A cohort in parts: every case in one of them, each with a record of its own, and one merged record."""

import csv
import json

import pytest

from tests.prediction.conftest import statuses
from ulite_monai.cli import app
from ulite_monai.errors import InputError
from ulite_monai.prediction import Part, PredictOptions, Segmenter, merge_parts, predict_cases

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}
NAMES = [f"case_{number}" for number in range(6)]


def record(folder, name="predictions.json"):
    return json.loads((folder / name).read_text())


@pytest.fixture
def run_part(segmenter, make_inputs, tmp_path):
    """A function that segments one part of six cases into `out`."""
    make_inputs(*NAMES)

    def run(number, of=2, by=segmenter, **options):
        return predict_cases(tmp_path / "in", tmp_path / "out", by, PredictOptions(part=Part(number, of), **options))

    return run


def test_every_case_is_in_one_part_wherever_it_runs():
    ids = [f"sub-{n:03d}/anat" for n in range(500)]
    owners = [[part for part in range(1, 5) if Part(part, 4).holds(one)] for one in ids]
    assert all(len(found) == 1 for found in owners)
    assert {part: owners.count([part]) for part in range(1, 5)} == {1: 123, 2: 122, 3: 116, 4: 139}
    assert all(Part(1, 1).holds(one) for one in ids)


def test_the_environment_is_read_only_when_asked():
    assert Part.of_text("2/4", ARRAY) == Part(2, 4)
    assert Part.of_text("slurm", ARRAY) == Part(3, 4)
    assert Part.of_text("slurm", ARRAY | {"SLURM_ARRAY_TASK_MAX": "8"}) == Part(3, 4)


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("0/4", {}, "1/4 to 4/4"),
        ("5/4", {}, "1/4 to 4/4"),
        ("2", {}, "K/N.*got '2'"),
        ("-1/4", {}, "K/N"),
        ("slurm", {}, "SLURM_ARRAY_TASK_ID, .*MIN, .*COUNT isn't set.*--array=1-N"),
        ("slurm", ARRAY | {"SLURM_ARRAY_TASK_MAX": "11"}, "4 tasks of the job array, 5 to 11, don't follow"),
        ("slurm", ARRAY | {"SLURM_ARRAY_TASK_ID": "9"}, "don't follow"),
    ],
)
def test_what_names_no_part_is_refused(text, environment, words):
    with pytest.raises(InputError, match=words):
        Part.of_text(text, environment)


def test_parts_merge_to_what_one_run_writes(run_part, segmenter, tmp_path):
    done = [result.id for number in (1, 2) for result in run_part(number, statistics=True)]
    assert sorted(done) == NAMES and not (tmp_path / "out" / "predictions.json").exists()
    merged = merge_parts(tmp_path / "out")
    assert statuses(merged.results) == dict.fromkeys(NAMES, "done") and merged.missing == []
    predict_cases(tmp_path / "in", tmp_path / "one", segmenter, PredictOptions(statistics=True))
    assert f"<td>{len(NAMES)} of {len(NAMES)}</td>" in (tmp_path / "out" / "report.html").read_text()
    ours, whole = record(tmp_path / "out"), record(tmp_path / "one")
    assert [case["id"] for case in ours["cases"]] == NAMES
    assert {name: ours["files"][name] for name in whole["files"]} == whole["files"]
    for name in ("weights", "settings", "tta", "overrides", "engine", "versions", "algorithm"):
        assert ours[name] == whole[name], name
    assert (tmp_path / "out" / "volumes.csv").read_text() == (tmp_path / "one" / "volumes.csv").read_text()
    assert [part["number"] for part in ours["parts"]["merged"]] == [1, 2]
    again = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert set(statuses(again).values()) == {"skipped"}
    assert merge_parts(tmp_path / "out").missing == []


def test_what_is_missing_is_said_and_done_by_resuming(run_part, tmp_path):
    first = run_part(1)
    merged = merge_parts(tmp_path / "out")
    assert merged.missing == ["part 2 has no record, of 2 parts."]
    run_part(2)
    lost = first[0].id
    (tmp_path / "out" / f"{lost}.nii.gz").unlink()
    merged = merge_parts(tmp_path / "out")
    assert merged.missing == [f"part 1 of 2: 1 of its {len(first)} cases had masks that are gone or changed: {lost}."]
    assert record(tmp_path / "out")["missing"] == merged.missing
    resumed = statuses(run_part(1, resume=True))
    assert resumed.pop(lost) == "done" and set(resumed.values()) <= {"skipped"}
    assert merge_parts(tmp_path / "out").missing == []


def test_an_interrupted_part_is_told_from_a_complete_one(segmenter, make_inputs, tmp_path):
    make_inputs(*NAMES)
    part = Part(1, 2)
    planned = [name for name in NAMES if part.holds(name)]
    assert len(planned) > 1

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(part=part), stop)
    missing = merge_parts(tmp_path / "out").missing
    assert f"{len(planned) - 1} of its {len(planned)} cases aren't done" in missing[1]


def test_a_failed_case_is_reported_once_and_replaced_when_it_is_mended(run_part, segmenter, tmp_path):
    path = tmp_path / "in" / "case_3.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000])
    for number in (1, 2):
        run_part(number)
    merged = merge_parts(tmp_path / "out")
    assert statuses(merged.results) == dict.fromkeys(NAMES, "done") | {"case_3": "failed"}
    path.write_bytes(whole)
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    merged = merge_parts(tmp_path / "out")
    assert set(statuses(merged.results).values()) <= {"done", "skipped"} and merged.missing == []
    rows = list(csv.DictReader((tmp_path / "out" / "volumes.csv").open()))
    assert sorted({row["case"] for row in rows}) == NAMES


def test_a_part_without_cases_is_complete(run_part, tmp_path):
    counts = [len(run_part(number, of=9)) for number in range(1, 10)]
    assert sum(counts) == 6 and 0 in counts
    assert merge_parts(tmp_path / "out").missing == []


def test_contradictions_are_refused(run_part, weights, tmp_path):
    with pytest.raises(InputError, match="holds no record of a part"):
        merge_parts(tmp_path / "out")
    run_part(1)
    with pytest.raises(InputError, match="records of 2 parts, and this is one of 3"):
        run_part(1, of=3)
    run_part(2, by=Segmenter("hippocampus", weights, "cpu"))
    with pytest.raises(InputError, match="made by other overrides and settings than those of "):
        merge_parts(tmp_path / "out")
    run_part(2)
    path = tmp_path / "out" / "predictions.part-2-of-2.json"
    text = path.read_text()
    path.write_text(text.replace('"done"', '"empty"'))
    with pytest.raises(InputError, match="was changed since it was written"):
        merge_parts(tmp_path / "out")
    path.write_text(text)
    (tmp_path / "out" / "volumes.csv").write_text("mine")
    with pytest.raises(InputError, match="csv: is there already and wasn't written by this program"):
        merge_parts(tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_parts_that_saw_other_inputs_say_so(run_part, make_inputs, tmp_path):
    run_part(1)
    make_inputs(*NAMES, "new")
    run_part(2)
    assert "the parts found different cases at the input (6 and 7 of them)." in merge_parts(tmp_path / "out").missing


def test_masks_of_other_parts_in_the_input_folder_are_no_inputs(segmenter, make_inputs, tmp_path):
    folder = make_inputs(*NAMES)
    for number in (1, 2):
        predict_cases(folder, folder / "masks", segmenter, PredictOptions(part=Part(number, 2)))
    assert [result.id for result in merge_parts(folder / "masks").results] == NAMES
    results = predict_cases(folder, tmp_path / "elsewhere", segmenter)
    assert [result.id for result in results] == NAMES


def test_the_command_says_what_is_missing_and_ends_with_1(run_part, tmp_path, capsys):
    run_part(1)
    with pytest.raises(SystemExit, match="1"):
        app(["merge", str(tmp_path / "out")], standalone_mode=False)
    said = capsys.readouterr()
    assert "missing: part 2 has no record" in said.err and "--resume" in said.err and " done; see " in said.out
    run_part(2)
    app(["merge", str(tmp_path / "out")], standalone_mode=False)
    assert capsys.readouterr().out.startswith("6 cases: 6 done; see ")
