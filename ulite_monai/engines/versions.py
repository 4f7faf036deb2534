"""Versions of what results depend on."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version

from ulite_monai import __version__

__all__ = ["versions"]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python, this package and the ones that results depend on."""
    found = {"python": platform.python_version(), "ulite-monai": __version__}
    for name in ("monai", "torch", "numpy", "nibabel", "pytorch-ignite", "openvino", "highdicom", "pydicom"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
