"""The report as its reader has it: one file, right numbers, nothing from outside, safe for any name."""

import csv
import json
import re
import shutil
import subprocess
from collections import defaultdict
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.conftest import ellipsoids
from ulite_monai.errors import InputError
from ulite_monai.reports.evaluation import Evaluation
from ulite_monai.reports.html import write_report

EVIL = "<script>document.title='evil'</script>"
LABELS = ["left & 'right'", '"$x$" <b>']
AFFINE = np.diag([-1.0, 1.0, 2.5, 1.0])
CASES = [EVIL, *(f"case_{n}" for n in range(6))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An evaluation of seven cases: shifted masks, one class missed in one of them; one case that was refused."""
    folder = tmp_path_factory.mktemp("an evaluation")
    evaluation = Evaluation(LABELS, pictures=2, about={"title": f"masks of {EVIL}"})
    for number, case in enumerate(CASES):
        _, reference = ellipsoids((24, 28, 12), seed=number)
        mask = np.roll(reference, number % 3, axis=0)
        mask[mask == (2 if number == 0 else 9)] = 0
        evaluation.add(case, mask, reference, AFFINE)
    evaluation.refuse("gone", f"gone: there is no mask of it {EVIL}")
    evaluation.write(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """What a report reads of a bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "docs").mkdir()
    (folder / "configs").mkdir()
    figures = {"of": "5 validation cases", "dice_left": 0.9}
    metadata = {"name": f"U-Lite {EVIL}", "version": "0.6.0", "data_source": "10 train", "eval_metrics": figures}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    choices = [{"what": "spacing", "value": [1.0, 1, 2.5], "reason": f"the median {EVIL}", "source": "nnU-Net"}]
    (folder / "docs" / "plan.json").write_text(json.dumps({"choices": choices}))
    (folder / "docs" / "curve.csv").write_text("epoch,loss,dice left\n1,1.5,\n2,1.25,0.5\n3,1.0,nan\n")
    (folder / "docs" / "split.json").write_text(json.dumps({"training": ["a", EVIL], "validation": ["b"]}))
    return folder


class Page(HTMLParser):
    """The texts, elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.text, self.open = defaultdict(list), [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags[tag].append(dict(attrs))
        self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" in self.open or "script" in self.open:
            return
        self.text += data
        if {"td", "th"} & {*self.open}:
            self.cells[-1][-1] += data


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def test_the_numbers_are_those_of_the_tables(folder):
    page = page_of(folder / "report.html")
    shown = {(row[0], row[1]): row[2:] for row in page.cells if len(row) == 10 and row[0] != "case ↕"}
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14 and {(row["case"], row["label"]) for row in rows} <= shown.keys()
    for row in rows:
        status, dice, hd95, assd, nsd, mask, reference, difference = shown[row["case"], row["label"]]
        assert (status, dice) == (row["status"], f"{float(row['dice']):.4f}")
        assert hd95 == (f"{float(row['hd95_mm']):.2f}" if row["hd95_mm"] else "–")
        assert assd == (f"{float(row['assd_mm']):.2f}" if row["assd_mm"] else "–")
        assert (nsd, mask) == (f"{float(row['nsd_1mm']):.4f}", f"{float(row['volume_ml']):.4g}")
        assert reference == f"{float(row['reference_ml']):.4g}"
        assert float(difference.replace("−", "-")) == pytest.approx(float(row["difference_ml"]), rel=0.01)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["cases"], summary["worst_case"]) == (7, EVIL) and list(summary["not_evaluated"]) == ["gone"]
    for label, entry in summary["labels"].items():
        row = next(row for row in page.cells if len(row) == 12 and row[0].strip() == label)
        low, high = entry["dice"]["ci95"]
        assert row[1].strip() == f"{entry['dice']['mean']:.3f}{low:.3f} to {high:.3f}"
        assert row[8:] == [str(entry[status]) for status in ("both", "missed", "invented", "absent")]
        agreement = next(row for row in page.cells if len(row) == 5 and row[0].strip() == label)
        bias, low, high = entry["agreement_ml"]["bias"], *entry["agreement_ml"]["bias_ci95"]
        words = [(f"{number:+.3g}" if number else "0").replace("-", "−") for number in (bias, low, high)]
        assert agreement[1:3] == ["7", f"{words[0]}{words[1]} to {words[2]}"]
    assert "Structures missed: 1; invented: none" in page.text and "1 not evaluated" in page.text


def test_nothing_comes_from_outside_and_no_name_is_markup(folder, bundle, tmp_path):
    path = write_report(bundle, folder, tmp_path / "report.html")
    page = page_of(path)
    assert len(page.tags["script"]) == 1 and not page.tags["b"] and not page.tags["link"] and not page.tags["iframe"]
    for elements in page.tags.values():
        for attributes in elements:
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "xlink:href", "action", "data"):
                assert attributes.get(name, "#").startswith(("#", "data:image/")), attributes
    text = path.read_text(encoding="utf-8")
    assert "url(" not in text.replace("url(#", "") and "@import" not in text
    policy = next(one["content"] for one in page.tags["meta"] if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; ") and "script-src 'sha256-" in policy
    for words in (EVIL, *LABELS, "For research use only, not for diagnosis", "1 x 1 x 2.5", "the median", "10 train"):
        assert words in page.text
    assert str(folder) not in text and path.stat().st_size < 1_000_000


def test_it_can_be_read_without_eyes(folder, bundle, tmp_path):
    page = page_of(write_report(bundle, folder, tmp_path / "report.html"))
    assert page.tags["html"][0]["lang"] == "en" and len(page.tags["h1"]) == 1 and len(page.tags["main"]) == 1
    assert len(page.tags["svg"]) == 4 + 2 * 2 + 2 + 2  # distributions, volumes, curve, worst cases
    assert all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in page.tags["svg"])
    ids = [one["id"] for elements in page.tags.values() for one in elements if "id" in one]
    assert len(ids) == len(set(ids))
    targets = [one["href"][1:] for one in page.tags["a"]]
    assert set(targets) <= set(ids) and sum(target.startswith("row-") for target in targets) >= 14
    sliders = [one["id"] for one in page.tags["input"] if one.get("type") == "range"]
    assert len(sliders) == 2 and set(sliders) <= {one.get("for") for one in page.tags["label"]}


def test_a_training_alone_has_a_report(bundle):
    path = write_report(bundle)
    page = page_of(path)
    assert path == bundle / "report.html" and "5 validation cases: left 0.9000" in page.text
    assert "loss over 3 epochs; at the end loss 1" in [one["aria-label"] for one in page.tags["svg"]]
    assert not page.tags["input"] and "Worst cases" not in page.text


def test_an_image_has_no_millimetres_and_no_volumes(tmp_path):
    evaluation = Evaluation(["cell"])
    reference = np.zeros((30, 20), np.uint8)
    reference[5:10, 5:10] = 1
    for number in range(3):
        evaluation.add(f"image_{number}", np.roll(reference, number, axis=0), reference, None)
    page = page_of(evaluation.write(tmp_path))
    assert "IoU" in page.text and "mm" not in page.text.split() and "Volumes" not in page.text
    assert [len(row) for row in page.cells if row[0] == "image_1"] == [5]


def test_slices_that_would_make_it_too_large_are_left_out(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ulite_monai.reports.html.MOST_BYTES", 1)
    assert not page_of(write_report(None, folder, tmp_path / "report.html")).tags["input"][1:]


def test_what_isnt_an_evaluation_is_refused_in_a_sentence(folder, tmp_path):
    shutil.copy(folder / "metrics.csv", tmp_path)
    with pytest.raises(InputError, match="isn't the summary of an evaluation"):
        write_report(None, tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json: can't be read"):
        write_report(None, tmp_path)
    assert not (tmp_path / "report.html").exists()


PROBE = """<script>
const slider = document.querySelector("input[type=range]"), stack = slider.closest(".stack");
const shown = () => [...stack.querySelectorAll("svg > g")].findIndex((g) => getComputedStyle(g).display !== "none");
const first = shown();
slider.value = 0; slider.dispatchEvent(new Event("input"));
const button = [...document.querySelectorAll("#cases th button")].find((b) => b.textContent === "Dice");
const dice = () => [...document.querySelectorAll("#cases tbody tr")].map((row) => row.cells[3].textContent).join();
button.click(); const up = dice(); button.click(); const down = dice();
document.querySelector("#filter").value = "missed";
document.querySelector("#filter").dispatchEvent(new Event("input"));
const left = [...document.querySelectorAll("#cases tbody tr")].filter((row) => !row.hidden).length;
document.title = JSON.stringify({first, then: shown(), name: stack.querySelector("output").textContent, up, down, left,
  wide: document.documentElement.scrollWidth});
</script></body>"""


def test_it_works_in_a_browser_without_an_error(folder, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium isn't installed")

    def opened(path):
        look = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
        how = ("--window-size=400,900", "--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom")
        done = subprocess.run([chromium, *look, *how, path.as_uri()], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1], done.stderr.count("CONSOLE")

    title, messages = opened(folder / "report.html")
    assert "evil" not in title.replace("document.title='evil'", "") and messages == 0  # refused requests are told there
    text = (folder / "report.html").read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    probed.write_text(re.sub(r"<meta http-equiv=.*?>", "", text).replace("</body>", PROBE), encoding="utf-8")
    title, messages = opened(probed)
    found = json.loads(title.replace("&quot;", '"'))
    start = json.loads((folder / "worst_cases.json").read_text())[0]
    assert (found["first"], found["then"], messages) == (start["start"], 0, 0)
    assert found["name"] == f"{start['plane']} {start['slices'][0]['name']}"
    assert found["up"].split(",") == sorted(found["up"].split(",")) == found["down"].split(",")[::-1]
    assert found["left"] == 1 and found["wide"] <= 500  # no sideways scrolling on a phone
