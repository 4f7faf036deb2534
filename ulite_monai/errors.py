"""Errors that are the input's, told in one line."""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["InputError", "tell_input_errors_in_one_line"]


class InputError(ValueError):
    """Something the user gave can't be used. The message names it, the value found, and what to do."""


def tell_input_errors_in_one_line() -> None:
    """From now on, an InputError that ends the process prints its message alone, without a traceback.

    MONAI evaluates configurations by `eval` and wraps what goes wrong there, so the cause is looked for too. The
    exit code stays 1. Other errors keep their traceback.
    """
    if sys.excepthook is not _tell:
        sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            print(f"error: {cause}", file=sys.stderr)
            return
        cause = cause.__cause__ or cause.__context__
    sys.__excepthook__(kind, error, trace)
