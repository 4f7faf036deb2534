"""When a class's largest component alone is kept."""

import json

import pytest

from tests.conftest import read_json
from ulite_monai.planning.largest import choose_largest, keep_largest
from ulite_monai.reports.metrics import LabelMetrics
from ulite_monai.reports.metrics_csv import read_metrics, write_metrics


def rows(label, *dice):
    return [LabelMetrics(f"case_{n}", label, "both", one, None, None, None, None) for n, one in enumerate(dice)]


def test_it_is_kept_where_it_raised_the_pooled_dice_alone():
    before = rows("liver", 0.9, 0.8) + rows("lesion", 0.7, 0.6) + rows("spleen", 0.9, 0.9) + rows("absent", None, None)
    after = rows("liver", 0.95, 0.8) + rows("lesion", 0.9, 0.2) + rows("spleen", 0.9, 0.9) + rows("absent", None, None)
    chosen, keep = choose_largest(before, after, ["liver", "lesion", "spleen", "absent"])
    assert keep == [1]
    assert [row.dice for row in chosen] == [0.95, 0.8, 0.7, 0.6, 0.9, 0.9, None, None]


@pytest.fixture
def trained(tmp_path):
    """What `keep_largest` reads and writes of a bundle: two configurations, and pictures of an evaluation."""
    (tmp_path / "configs").mkdir()
    for name in ("inference.json", "evaluate.json"):
        (tmp_path / "configs" / name).write_text(json.dumps({"ckpt": "model.pt", "keep_largest": []}))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "worst_cases.json").write_text("[]")
    return tmp_path


def kept(bundle, plain, largest):
    folder, labels = bundle / "docs", ["liver", "lesion"]
    write_metrics(rows("liver", *plain) + rows("lesion", *plain), folder / "metrics.csv")
    write_metrics(rows("liver", *largest) + rows("lesion", *plain[:-1], 0.0), folder / "largest.csv")
    assert keep_largest(bundle, folder, labels) == bool(
        read_json(bundle / "configs" / "inference.json")["keep_largest"]
    )
    configs = [read_json(bundle / "configs" / name) for name in ("inference.json", "evaluate.json")]
    assert configs[0] == configs[1] and configs[0]["ckpt"] == "model.pt"
    return configs[0]["keep_largest"]


def test_a_bundle_keeps_what_raised_the_dice_and_has_its_figures(trained):
    assert kept(trained, [0.9, 0.8, 0.9, 0.9, 0.5], [0.9, 0.8, 0.9, 0.9, 0.9]) == [1]
    by_label = {
        row.label: row.dice for row in read_metrics(trained / "docs" / "metrics.csv") if row.case_id == "case_4"
    }
    assert by_label == {"liver": 0.9, "lesion": 0.5}
    summary = read_json(trained / "docs" / "summary.json")
    assert summary["labels"]["liver"]["dice"]["mean"] == pytest.approx(0.88)
    assert summary["about"]["masks"] == "the largest component alone of liver"
    assert (trained / "docs" / "worst_cases.json").read_text() == "[]"


def test_nothing_is_chosen_where_nothing_is_better_or_cases_are_few(trained):
    assert kept(trained, [0.9, 0.8, 0.9, 0.9, 0.9], [0.9, 0.8, 0.9, 0.9, 0.8]) == []
    assert kept(trained, [0.9, 0.8, 0.9, 0.5], [0.9, 0.8, 0.9, 0.9]) == []
    assert not (trained / "docs" / "summary.json").exists()
