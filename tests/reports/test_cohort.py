"""The report of a cohort: right numbers, what is missing, safe for any name."""

from tests.reports.test_html import EVIL, Page
from ulite_monai.reports.cohort import write_cohort_report
from ulite_monai.reports.volumes import LabelVolume


def case(name, status="done", message="", warnings=()):
    return {"id": name, "status": status, "message": message, "seconds": 1.5, "warnings": list(warnings)}


def page(path, *arguments):
    write_cohort_report(path, f"masks of {EVIL}", *arguments)
    return path.read_text()


def test_a_cohort_with_all_that_can_happen(tmp_path):
    cases = [case(EVIL), case("b", warnings=["a guess"]), case("c"), case("d", "failed", "d.nii: is cut short")]
    sizes = {EVIL: (1.0, 0.5), "b": (2.0, 0.0), "c": (4.0, 0.25)}
    volumes = {
        name: [LabelVolume("x", 1, int(1000 * x), x, None), LabelVolume("y", 2, int(1000 * y), y, None)]
        for name, (x, y) in sizes.items()
    }
    text = page(tmp_path / "report.html", cases, volumes, ["part 2 has no record, of 2 parts."])
    assert EVIL not in text and "part 2 has no record" in text
    assert "<td>3 of 3</td><td>1<small>&lt;script&gt;" in text and "<td>2 of 3</td><td>0.25<small>c</small>" in text
    assert "<td>1.5</td><td>2</td><td>3</td><td>4<small>c</small></td>" in text
    assert text.index("d.nii: is cut short") < text.index("a guess")
    Page(text)


def test_a_cohort_without_masks(tmp_path):
    text = page(tmp_path / "report.html", [], {}, [])
    assert "<dt>Cases</dt><dd>0</dd>" in text and "Not complete" not in text
