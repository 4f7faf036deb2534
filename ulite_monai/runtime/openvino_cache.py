"""Converted models kept on disk, since converting takes seconds and compiling tenths of one.

OpenVINO has a cache of its own for compiled models. It isn't used: a damaged entry of it can load and compute wrong
logits without an error (flipped bytes among the weights). An entry here carries its checksum.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from ulite_monai import networks

if TYPE_CHECKING:
    import openvino

__all__ = ["cache_folder", "cached_model"]

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)


def cached_model(network: Network, convert: Callable[[Network], openvino.Model]) -> openvino.Model:
    """What `convert(network)` gives, from the cache if it is there and undamaged.

    Args:
        network: a network of this package, whose code, structure and weights decide the entry.
        convert: makes the model.
    """
    entry = cache_folder() / f"{_fingerprint(network)}.model"
    model = _load(entry)
    if model is None:
        model = convert(network)
        _store(model, entry)
    return model


def cache_folder() -> Path:
    """$ULITE_CACHE_DIR, or `ulite_monai` in the user's cache folder; there the folder `openvino`."""
    if os.environ.get("ULITE_CACHE_DIR"):
        return Path(os.environ["ULITE_CACHE_DIR"]).expanduser() / "openvino"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "ulite_monai" / "openvino"


def _fingerprint(network: nn.Module) -> str:
    import openvino

    digest = hashlib.sha256(f"{openvino.__version__} {torch.__version__} {network!r}".encode())
    for source in [
        *sorted(Path(networks.__path__[0]).glob("*.py")),
        *sorted(Path(__file__).parent.glob("openvino_*.py")),
    ]:
        digest.update(source.read_bytes())
    for module in network.modules():
        plain = {
            name: value for name, value in vars(module).items() if isinstance(value, int | float | str | list | tuple)
        }
        digest.update(repr(sorted(plain.items(), key=str)).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _load(entry: Path) -> openvino.Model | None:
    import openvino

    try:
        content = entry.read_bytes()
    except OSError:
        return None
    checksum, sizes, rest = content[:32], content[32:40], content[32:]
    if hashlib.sha256(rest).digest() != checksum:
        logger.warning("%s is damaged and made anew.", entry)
        return None
    length = int.from_bytes(sizes, "little")
    return openvino.Core().read_model(rest[8 : 8 + length], rest[8 + length :])


def _store(model: openvino.Model, entry: Path) -> None:
    import openvino

    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".partial-") as folder:
            structure = Path(folder) / "model.xml"
            openvino.save_model(model, structure, compress_to_fp16=False)
            xml, weights = structure.read_bytes(), structure.with_suffix(".bin").read_bytes()
            rest = len(xml).to_bytes(8, "little") + xml + weights
            whole = Path(folder) / "whole"
            whole.write_bytes(hashlib.sha256(rest).digest() + rest)
            os.replace(whole, entry)
    except OSError as error:
        logger.warning("%s can't be written (%s); the model is converted anew next time.", entry, error)
