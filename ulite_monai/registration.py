"""Makes ULite known to MONAI, which has no registry: at once, or when MONAI is imported later."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

__all__ = ["register_with_monai"]


def register_with_monai() -> None:
    """Add ULite to `monai.networks.nets` and to the names that a bundle's `_target_` may abbreviate.

    Neither imports MONAI: what isn't imported yet is completed right after its import. A name that MONAI has
    itself is never replaced.
    """
    pending = {}
    for name, complete in _COMPLETIONS.items():
        if name in sys.modules:
            complete(sys.modules[name])
        else:
            pending[name] = complete
    if pending:
        sys.meta_path.insert(0, _CompleteAfterImport(pending))


def _add_network(nets: ModuleType) -> None:
    # On demand, since it may be the import of ULite that imports MONAI.
    if hasattr(nets, "ULite"):
        return
    theirs = getattr(nets, "__getattr__", None)

    def __getattr__(name: str) -> Any:
        if name == "ULite":
            from ulite_monai.networks.ulite import ULite

            return ULite
        if theirs is not None:
            return theirs(name)
        raise AttributeError(f"module {nets.__name__!r} has no attribute {name!r}")

    nets.__getattr__ = __getattr__  # type: ignore[method-assign]


def _add_short_name(config_item: ModuleType) -> None:
    # ComponentLocator looks at the loaded modules whose name starts with MOD_START; str.startswith takes a tuple. It
    # is the one module with ULite alone: the blocks beside it share names with MONAI's.
    import ulite_monai.networks.ulite  # noqa: F401

    locator = config_item.ComponentLocator
    known = locator.MOD_START if isinstance(locator.MOD_START, tuple) else (locator.MOD_START,)
    if "ulite_monai.networks.ulite" not in known:
        locator.MOD_START = (*known, "ulite_monai.networks.ulite")


_COMPLETIONS: dict[str, Callable[[ModuleType], None]] = {
    "monai.networks.nets": _add_network,
    "monai.bundle.config_item": _add_short_name,
}


class _CompleteAfterImport(importlib.abc.MetaPathFinder):
    """Lets the other finders find the awaited modules, and calls their completion once they have run."""

    def __init__(self, pending: dict[str, Callable[[ModuleType], None]]) -> None:
        self.pending = pending

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.pending:
            return None
        complete = self.pending.pop(fullname)
        if not self.pending:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_complete(module: ModuleType) -> None:
                execute(module)
                complete(module)

            spec.loader.exec_module = execute_and_complete  # type: ignore[method-assign]
        return spec
