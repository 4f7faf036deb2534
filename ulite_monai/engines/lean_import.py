"""MONAI imports whatever is installed in case it is needed; half of that time is for what no prediction needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["UNNEEDED_TO_PREDICT", "left_out"]

# Each is an optional import of MONAI's: of engines, handlers, plots, tables, and metrics on features. Ignite is the
# largest, because it takes torch's distributed training and sympy with it.
UNNEEDED_TO_PREDICT = (
    *("ignite", "ignite.engine", "matplotlib.pyplot", "pandas", "scipy.signal"),
    *("sklearn", "sklearn.metrics", "torch.utils.tensorboard"),
)


class _Absent(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self.names:
            raise ModuleNotFoundError(f"{fullname} is left out here", name=fullname)
        return None


@contextmanager
def left_out(names: Sequence[str]) -> Iterator[None]:
    """Inside, modules that aren't imported yet look as if they weren't installed; afterwards they can be imported.

    What is imported inside goes on without them, so this is for a command's own process, not for somebody else's.

    Args:
        names: full names of modules.
    """
    finder = _Absent(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
