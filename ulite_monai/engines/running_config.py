"""What MONAI makes of a configuration: the one that it is evaluating, and texts that it is to leave alone."""

from __future__ import annotations

import sys
from pathlib import Path

from monai.bundle import ConfigParser

__all__ = ["literal", "running_parser"]


def running_parser() -> ConfigParser:
    """The parser that evaluates the expression which called this.

    MONAI hands its parser to no expression, and what it was given (files, overlays, overrides from the command line or
    from Python) is known to it alone. So it is looked for among the callers.

    Raises:
        RuntimeError: When no configuration is being evaluated.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigParser):
            return caller
    raise RuntimeError("no configuration of MONAI is being evaluated.")


def literal(path: str | Path) -> str:
    """A path as the value of an id, whatever marks it holds that mean something to MONAI: `#`, `@`, `%`, `$`."""
    return "$" + repr(str(path)).translate({ord(mark): f"\\x{ord(mark):x}" for mark in "#@%"})
