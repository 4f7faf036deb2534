"""Training on several processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import environment
from tests.training.gradients import gradients


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one_on_the_same_global_batch(tmp_path):
    script = Path(__file__).with_name("gradients.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29531", str(script)]
    done = subprocess.run([*command, str(tmp_path)], env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    alone = gradients(distributed=False)
    assert all(gradient.abs().max() > 0 for name, gradient in alone.items() if name.endswith("head.weight"))
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
