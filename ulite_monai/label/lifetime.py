"""What a server starts ends with it: its trainings never go on, and write, without it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import psutil

__all__ = ["at_the_end", "end_with_the_server", "lead"]

SERVER = "ULITE_LABEL_SERVER"


def lead() -> None:
    """Make this process the one that those it starts end with."""
    os.environ[SERVER] = str(os.getpid())


def end_with_the_server() -> None:
    """End this process, and what it has started, as soon as the server that started it is gone, killed or not.

    Does nothing in a process that no server has started.
    """
    if SERVER not in os.environ:
        return
    number = int(os.environ[SERVER])
    if number != os.getpid():
        threading.Thread(target=_end_after, args=(number,), name="end with the server", daemon=True).start()


def at_the_end(close: Callable[[], Any]) -> None:
    """Call `close` when this process is asked to end (Ctrl-C, SIGTERM), before what else is done about it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)

        def handle(got: int, frame: FrameType | None, before: Any = before) -> None:
            try:
                close()
            finally:
                if callable(before):  # the server's own: it finishes what it is answering, then ends
                    before(got, frame)

        signal.signal(number, handle)


def _end_after(server: int) -> None:
    try:
        if os.name != "posix" or os.getppid() == server:
            psutil.Process(server).wait()
    except psutil.NoSuchProcess:
        pass
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)
