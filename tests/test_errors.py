"""Errors of libraries in one line that says what is wrong."""

import subprocess
import sys

import pytest

from ulite_monai.errors import InputError, reason

OPENVINO = """Exception from src/inference/src/cpp/infer_request.cpp:104:
Exception from src/plugins/intel_cpu/src/graph.cpp:1:
Can not allocate 12 bytes
"""


@pytest.mark.parametrize(
    ("message", "reported"),
    [
        (OPENVINO, "RuntimeError: Can not allocate 12 bytes"),
        ("Check 'a < b' failed at src/core/x.cpp:3:\n\nshapes differ", "RuntimeError: shapes differ"),
        ("Couldn't get TorchScript module by tracing.\nException:\nexpected more", "RuntimeError: expected more"),
        ("plain\nand more", "RuntimeError: plain"),
        ("Exception from a.cpp:1:", "RuntimeError"),
        ("", "RuntimeError"),
    ],
)
def test_the_line_that_says_why(message, reported):
    assert reason(RuntimeError(message)) == reported


def test_an_input_error_below_comes_first():
    error = RuntimeError("applying transform x")
    error.__cause__ = InputError("a.nii: is empty.")
    assert reason(error) == "a.nii: is empty."


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        ("KeyboardInterrupt('interrupted; go on by --resume.')", "interrupted; go on by --resume."),
        ("KeyboardInterrupt()", "interrupted."),
        ("InputError('a.nii: is empty.')", "error: a.nii: is empty."),
        ("OSError(28, 'No space left on device', 'out/x')", "error: [Errno 28] No space left on device: 'out/x'"),
    ],
)
def test_what_ends_the_process_is_one_line(raised, line):
    code = f"from ulite_monai.errors import *; report_input_errors_in_one_line(); raise {raised}"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.returncode != 0 and done.stderr.strip() == line and not done.stdout
