"""Requests made up from the server's own description of what it takes: none may be answered by 5xx."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.label.conftest import serving

pytestmark = pytest.mark.slow

SECONDS = 40
KNOWN = """
[parameters]
"path.model" = ["hippocampus"]
"path.strategy" = ["first", "random"]
"query.image" = ["hippocampus_001", "..", "x"]
"query.label" = ["hippocampus_001", "x"]
"query.tag" = ["final", "original", "a/b"]
"""


def test_no_request_is_answered_by_a_server_error(label_python, cases, tmp_path):
    program = shutil.which("st", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        pytest.skip("schemathesis isn't installed: pip install schemathesis")
    (tmp_path / "studies").mkdir()
    shutil.copy(cases[0][0], tmp_path / "studies")
    (tmp_path / "schemathesis.toml").write_text(KNOWN)
    with serving(label_python, tmp_path, tmp_path / "studies") as server:
        command = [program, "run", f"{server.url}/openapi.json", "--checks", "not_a_server_error", "--seed", "0"]
        command += ["--max-time", str(SECONDS), "--max-examples", "20", "--phases", "coverage,fuzzing", "--no-shrink"]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0 and "Operations:" in done.stdout, done.stdout[-4000:] + done.stderr[-2000:]
        assert server.get("/info/").status_code == 200
