"""Leaving the group of processes ends its threads, so that none is left when the interpreter ends."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

PROGRAM = """
import pathlib, torch
from ulite_monai.training import distributed

def threads():
    return sum("gloo" in file.read_text() for file in pathlib.Path("/proc/self/task").glob("*/comm"))

device = distributed.join()
network = distributed.wrap(torch.nn.Linear(3, 3), device)
network(torch.ones(2, 3)).sum().backward()
distributed.average_over_processes(network.buffers())
before = threads()
distributed.leave(network)
print(before > 0, threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by Linux's /proc")
def test_no_thread_outlives_the_group():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment() | address | alone, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "0"], done.stdout + done.stderr
