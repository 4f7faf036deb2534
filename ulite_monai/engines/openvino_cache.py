"""Converted models kept on disk, since converting takes seconds and compiling tenths of one.

OpenVINO has a cache of its own for compiled models. It isn't used: it is asked with a converted model, and a damaged
entry of it can load and compute wrong logits without an error (flipped bytes among the weights). An entry here carries
a checksum of its content and of the network that it was made for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from ulite_monai import networks
from ulite_monai.errors import reason

if TYPE_CHECKING:
    import openvino

__all__ = ["cache_folder", "cached_model"]

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
LARGEST_CACHE = 256 * 2**20
PARTIAL = ".partial-"


def cached_model(network: Network, convert: Callable[[Network], openvino.Model]) -> openvino.Model:
    """What `convert(network)` gives, from the cache if it is there, undamaged and of this network.

    Args:
        network: a network of this package, whose code, structure and weights decide the entry.
        convert: makes the model.
    """
    fingerprint = _fingerprint(network)
    entry = cache_folder() / f"{fingerprint}.model"
    try:
        _make_private(entry.parent)
    except OSError as error:
        logger.warning("%s can't be used (%s); the model is converted anew each time.", entry.parent, error)
        return convert(network)
    model = _load(entry, fingerprint)
    if model is None:
        model = convert(network)
        _store(model, entry, fingerprint)
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


def _make_private(folder: Path) -> None:
    """The user's alone, because whatever model lies there is run."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _load(entry: Path, fingerprint: str) -> openvino.Model | None:
    import openvino

    try:
        content = entry.read_bytes()
        if content[:32] != _checksum(fingerprint, content[32:]):
            raise ValueError("its checksum doesn't fit")
        length = 40 + int.from_bytes(content[32:40], "little")
        model = openvino.Core().read_model(content[40:length], content[length:])
        os.utime(entry)  # what was used last stays longest
        return model
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is wrong with it, it can be made anew
        logger.warning("%s can't be used (%s) and is made anew.", entry, reason(error))
        return None


def _store(model: openvino.Model, entry: Path, fingerprint: str) -> None:
    import openvino

    try:
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=PARTIAL) as folder:
            structure = Path(folder) / "model.xml"
            openvino.save_model(model, structure, compress_to_fp16=False)
            xml, weights = structure.read_bytes(), structure.with_suffix(".bin").read_bytes()
            rest = len(xml).to_bytes(8, "little") + xml + weights
            whole = Path(folder) / "whole"
            whole.write_bytes(_checksum(fingerprint, rest) + rest)
            os.replace(whole, entry)
        _keep_within(LARGEST_CACHE, entry.parent)
    except OSError as error:
        logger.warning("%s can't be written (%s); the model is converted anew next time.", entry, error)


def _checksum(fingerprint: str, rest: bytes) -> bytes:
    return hashlib.sha256(fingerprint.encode() + rest).digest()


def _keep_within(largest: int, folder: Path) -> None:
    """Remove what processes that were killed left behind, and the entries that were used longest ago."""
    for left in folder.glob(f"{PARTIAL}*"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
    entries = sorted(((file.stat(), file) for file in folder.glob("*.model")), key=lambda entry: -entry[0].st_mtime)
    total = 0
    for number, (status, file) in enumerate(entries):
        total += status.st_size
        if total > largest and number > 0:  # the newest has just been made
            file.unlink(missing_ok=True)
