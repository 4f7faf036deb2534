"""The rooms of the package: who may import whom, never upward, never in a circle (docs/inside.md)."""

import ast

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "ulite_monai"
ANYBODYS = {"errors"}
BELOW = {
    "networks": set(),
    "io": set(),
    "engines": {"networks"},
    "datasets": {"bundles", "io"},
    "transforms": {"io"},
    "reports": {"engines", "io"},  # engines for its list of versions
    "inferers": {"engines"},
    "bundles": set(),
    "training": {"datasets", "engines", "io", "networks", "reports"},
    "prediction": {"bundles", "datasets", "engines", "io", "networks", "reports", "transforms"},
    "planning": {"bundles", "datasets", "engines", "io", "prediction", "reports", "training"},
    "label": {"bundles", "datasets", "io", "prediction", "reports"},
}


def imports(path):
    """The rooms, or modules beside them, that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name and name.startswith("ulite_monai."))


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_what_lies_below_it_alone(room):
    found = {other for path in (PACKAGE / room).rglob("*.py") for other in imports(path)}
    assert found - {room} <= BELOW[room] | ANYBODYS


def test_every_room_has_its_rule():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert rooms == set(BELOW)


def test_the_rules_have_no_circle():
    left = {room: set(below) for room, below in BELOW.items()}
    while left:
        ground = [room for room, below in left.items() if not below & set(left)]
        assert ground, f"a circle among {sorted(left)}"
        for room in ground:
            del left[room]


def test_no_two_files_import_each_other():
    """Not even for types alone."""
    files = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
    }
    left = {name: set(modules(path)) & set(files) - {name} for name, path in files.items()}
    while left:
        ground = [name for name, below in left.items() if not below & set(left)]
        assert ground, f"a circle among {sorted(left)}"
        for name in ground:
            del left[name]


def modules(path):
    """The modules of the package that a file imports, wherever in it; a package's face isn't one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
