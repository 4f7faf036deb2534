"""Which environment MONAI Label runs in."""

import pytest

from tests.conftest import ROOT
from ulite_monai.errors import InputError
from ulite_monai.label import environment


def test_the_readme_the_docs_and_ci_have_the_command_that_the_error_prints():
    for file in ("README.md", "docs/label.md"):
        assert environment.INSTALL in (ROOT / file).read_text(encoding="utf-8"), file
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for part in environment.INSTALL.split(" && ")[2:]:
        assert part.removeprefix("pip install ") in ci.replace("install --quiet ", "")


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"monailabel": None}, "monailabel is missing"),
        ({"pydicom": "3.0.1"}, "pydicom must be <3,>=2.4.4, it is 3.0.1"),
        ({"monailabel": "0.9.0", "dicomweb-client": "0.60.0"}, "monailabel must be ==0.8.5, it is 0.9.0; dicomweb-"),
    ],
)
def test_what_is_missing_or_too_new_is_reported(monkeypatch, versions, words):
    good = {"monailabel": "0.8.5", "pydicom-seg": "0.4.1", "pydicom": "2.4.5", "dicomweb-client": "0.59.3"}
    found = good | versions
    lines = ['dicomweb-client[gcp]<0.60,>=0.59.1; extra == "label"', 'pydicom<3,>=2.4.4; extra == "label"', "numpy"]
    monkeypatch.setattr(environment, "requires", lambda name: lines)

    def version(name):
        if found[name] is None:
            raise environment.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(environment, "version", version)
    monkeypatch.setattr(environment.sys, "version_info", (3, 12))
    with pytest.raises(InputError) as error:
        environment.require_monai_label()
    assert words in str(error.value) and environment.INSTALL in str(error.value)
    found.update(good)
    environment.require_monai_label()
