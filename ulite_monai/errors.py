"""Errors that are the input's, told in one line."""

from __future__ import annotations

import sys
from types import TracebackType

__all__ = ["InputError", "reason", "tell_input_errors_in_one_line"]


class InputError(ValueError):
    """Something the user gave can't be used. The message names it, the value found, and what to do."""


def reason(error: BaseException) -> str:
    """Why something failed, in one line: the InputError among the causes, else the innermost cause."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    told = next((c for c in causes if isinstance(c, InputError)), None)
    if told is not None:
        return str(told)
    lines = str(causes[-1]).strip().splitlines()
    return f"{type(causes[-1]).__name__}: {lines[0]}" if lines else type(causes[-1]).__name__


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
