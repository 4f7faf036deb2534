"""Flags, as JSON and the command line write them; and a process's end."""

import subprocess
import sys

import pytest

from tests.conftest import environment
from ulite_monai.engines.process import is_true
from ulite_monai.errors import InputError


@pytest.mark.parametrize("value", [True, "true", "True", 1, "yes"])
def test_true(value):
    assert is_true(value) is True


@pytest.mark.parametrize("value", [False, "false", "False", 0, "no"])
def test_false(value):
    assert is_true(value) is False


def test_neither():
    with pytest.raises(InputError, match="'maybe'"):
        is_true("maybe")


@pytest.mark.slow
@pytest.mark.parametrize("prepare", ["process.prepare_process('cpu', 0)", "cli.app = lambda: None; cli.main()"])
def test_at_its_end_a_process_looks_for_no_garbage(prepare):
    """Python would go through half a million objects, several times: seconds, or a minute under load."""
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 1000))\n"
        f"import ulite_monai.cli as cli, ulite_monai.engines.process as process; {prepare}"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr
