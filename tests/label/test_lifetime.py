"""Processes that end with the one that started them."""

import subprocess
import sys

import psutil
import pytest

from tests.conftest import environment

CHILD = (
    "import time; from ulite_monai.label.lifetime import end_with_the_server as e; e(); print('up'); time.sleep(600)"
)
SERVER = f"""
import subprocess, sys, time
from ulite_monai.label.lifetime import at_the_end, lead
lead()
at_the_end(lambda: print("closed", flush=True))
child = subprocess.Popen([sys.executable, "-u", "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "up\\n"
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_child_ends_with_its_server(how):
    server = subprocess.Popen([sys.executable, "-c", SERVER], env=environment(), stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(server.stdout.readline()))
    getattr(server, how)()
    if how == "terminate":  # what was done about the signal before is up to the server: here nothing
        assert server.stdout.readline() == "closed\n"
        server.kill()
    server.wait(timeout=30)
    assert not psutil.wait_procs([child], timeout=30)[1]


def test_a_process_that_no_server_started_goes_on():
    code = "from ulite_monai.label.lifetime import end_with_the_server as e; e(); print('done')"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout == "done\n"
