"""Optional dependencies, asked for at the moment they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from ulite_monai.errors import InputError

__all__ = ["require"]


def require(module: str, extra: str) -> Any:
    """The module, or a sentence that says how to install it.

    Args:
        module: its dotted name.
        extra: the extra of this package that brings it.

    Raises:
        InputError: When it isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise InputError(f'{name} can\'t be imported ({error}); pip install "ulite-monai[{extra}]".') from error
