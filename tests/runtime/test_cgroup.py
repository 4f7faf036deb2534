"""What a container or a batch job leaves of the memory: the tightest group counts, dropped files are free."""

import pytest
import torch

from ulite_monai.runtime.cgroup import memory_left
from ulite_monai.runtime.memory import free_memory


def write(folder, names, limit, usage, reclaimable):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {reclaimable}\n")


@pytest.fixture
def process(tmp_path):
    def write_process(text):
        path = tmp_path / "cgroup"
        path.write_text(text)
        return path

    return write_process


def test_version_2(tmp_path, process):
    names = ("memory.max", "memory.current")
    write(tmp_path / "fs" / "slurm" / "job_1", names, 8_000, 3_000, 500)
    write(tmp_path / "fs" / "slurm", names, 9_000, 7_000, 0)
    write(tmp_path / "fs", names, "max", 1_000_000, 0)
    assert memory_left(process("0::/slurm/job_1\n"), tmp_path / "fs") == 2_000
    assert memory_left(process("0::/\n"), tmp_path / "fs") is None


def test_version_1(tmp_path, process):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    write(tmp_path / "fs" / "memory" / "docker" / "a", names, 8_000, 3_000, 500)
    assert memory_left(process("9:cpu:/x\n5:memory:/docker/a\n"), tmp_path / "fs") == 5_500


def test_a_container_sees_its_own_group_at_the_root(tmp_path, process):
    write(tmp_path / "fs", ("memory.max", "memory.current"), 8_000, 9_000, 0)
    assert memory_left(process("0::/not/visible/here\n"), tmp_path / "fs") == 0


def test_elsewhere_there_is_no_limit(tmp_path):
    assert memory_left(tmp_path / "gone", tmp_path) is None


def test_free_memory_heeds_it(monkeypatch):
    whole = free_memory(torch.device("cpu"))
    monkeypatch.setattr("ulite_monai.runtime.memory.memory_left", lambda: 1_000)
    assert free_memory(torch.device("cpu")) < whole and free_memory(torch.device("cpu")) > 1_000
