"""What the control groups of Linux leave a process of the machine's memory: in a container, or a job of SLURM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory_left"]

V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def memory_left(process: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that the tightest of the process's groups still allows; None where there is no limit.

    Args:
        process: the file that names the groups.
        root: where they are mounted. In a container, the group named may not be visible, and the mounted one is its.
    """
    left = [value for folder, names in _groups(process, root) if (value := _left(folder, *names)) is not None]
    return max(0, min(left)) if left else None


def _groups(process: Path, root: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Folders of the groups of the process, from its own up to the root, and the names of their files."""
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top, names = (root, V2) if controllers == "" else (root / "memory", V1)
            group = top / path.lstrip("/")
            yield from ((folder, names) for folder in (group, *group.parents) if folder.is_relative_to(top))


def _left(folder: Path, limit: str, usage: str) -> int | None:
    try:
        allowed = int((folder / limit).read_text(encoding="ascii"))  # "max" where there is no limit
        used = int((folder / usage).read_text(encoding="ascii"))
        return allowed - used + _reclaimable(folder)
    except (OSError, ValueError):
        return None


def _reclaimable(folder: Path) -> int:
    """Bytes of files that were read and that the kernel drops when memory is wanted."""
    for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0
