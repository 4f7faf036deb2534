"""Errors that are the input's, reported in one line."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from types import TracebackType

__all__ = ["InputError", "input_error", "reason", "report_input_errors_in_one_line"]


class InputError(ValueError):
    """Something the user gave can't be used. The message names it, the value found, and what to do."""


def input_error(error: BaseException) -> InputError | None:
    """The InputError that `error` is or was caused by; MONAI wraps what goes wrong in a configuration or transform."""
    return next((cause for cause in _causes(error) if isinstance(cause, InputError)), None)


def reason(error: BaseException) -> str:
    """Why something failed, in one line: the InputError among the causes, else the first that isn't a wrapper."""
    known = input_error(error)
    if known is not None:
        return str(known)
    causes = list(_causes(error))
    first = next((c for c in causes if not str(c).startswith(MONAI_WRAPPERS)), causes[-1])
    lines = [line.strip() for line in str(first).splitlines()]
    lines = [line for line in lines if line and not WHERE_IN_THE_CODE.match(line)]
    return f"{type(first).__name__}: {lines[0]}" if lines else type(first).__name__


def report_input_errors_in_one_line() -> None:
    """From now on, an InputError or Ctrl-C that ends the process prints its message alone, without a traceback.

    So does a system that refuses to write: a full disk, a folder without permission. The exit code stays 1, that of
    Ctrl-C its own. Other errors keep their traceback.
    """
    if sys.excepthook is not _report:
        sys.excepthook = _report


# Lines of OpenVINO's and PyTorch's messages that name a place in their code, before the one that says what is wrong.
WHERE_IN_THE_CODE = re.compile(r"Exception( from .*)?:$|Check '.*' failed at |Couldn't get TorchScript module")
MONAI_WRAPPERS = ("applying transform", "Failed to evaluate", "Failed to instantiate")


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    known = input_error(error) or next(filter(_is_refusal, _causes(error)), None)
    if isinstance(error, KeyboardInterrupt):
        print(str(error) or "interrupted.", file=sys.stderr)
    elif known is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {known}", file=sys.stderr)


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
