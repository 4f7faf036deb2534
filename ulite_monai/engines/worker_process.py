"""A process that works for the one that the user started, and leaves Ctrl-C to that one."""

from __future__ import annotations

import signal
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """From now on Ctrl-C doesn't interrupt this process; what Dask calls when it starts a worker with this preload.

    Args:
        worker: the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
