"""Weights from files into networks, with errors that say what doesn't fit."""

from __future__ import annotations

import copy
import glob
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ulite_monai.errors import InputError
from ulite_monai.networks.ensemble import Ensemble

__all__ = ["checkpoint_files", "initialize_weights", "load_network", "load_weights", "trained", "weights_sha256"]

logger = logging.getLogger(__name__)

AS_TRAINED = "give labels, in_channels and the ids below network_def (features, strides, ...) as its training had them"


def load_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint: `model.pt` or another flat one, or the averaged network of a `last.ckpt`.

    Raises:
        InputError: When the file is missing, or not a checkpoint of plain tensors.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"{file}: no such checkpoint.")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling a foreign file raises many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{file}: is not a checkpoint of plain tensors ({reason}).") from None
    if isinstance(content, dict) and isinstance(content.get("average"), dict):  # a last.ckpt: what was validated
        prefix = "module."
        return {k.removeprefix(prefix): v for k, v in content["average"].items() if k.startswith(prefix)}
    for key in ("network", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"{file}: holds no state dict of a network.")
    return content


def load_network(network: nn.Module, path: str | Path) -> None:
    """Load the weights in a checkpoint, every one of them.

    Raises:
        InputError: When the checkpoint is missing, damaged, or of another network.
    """
    weights = load_weights(path)
    _require_same_names(path, weights, network)
    for name, own in network.state_dict().items():
        if weights[name].shape != own.shape:
            raise _other_shape(path, name, weights[name], own)
    network.load_state_dict(weights)


def checkpoint_files(ckpt: str | Path | Sequence[Path]) -> list[Path]:
    """The checkpoints that a path means, or a pattern such as `folds/*/model.pt`, in the order of their names.

    Several paths are given back as they are.

    A path without a file is given back as it is.
    """
    if not isinstance(ckpt, str | Path):
        return [Path(file) for file in ckpt]
    path = Path(ckpt).expanduser()
    found = [] if path.is_file() else sorted(glob.glob(str(path), recursive=True))
    return [Path(file) for file in found] or [path]


def weights_sha256(files: Sequence[Path]) -> str:
    """SHA-256 of the file of weights, as hexadecimal digits; of several, that of their digits in a row."""
    digits = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return digits[0] if len(digits) == 1 else hashlib.sha256("".join(digits).encode()).hexdigest()


def trained(network: nn.Module, ckpt: str | Path | Sequence[Path]) -> nn.Module:
    """`network` with the weights in a checkpoint; where a pattern means several, the ensemble of its copies with each.

    Raises:
        InputError: When a checkpoint is missing, damaged, or of another network.
    """
    files = checkpoint_files(ckpt)
    if len(files) == 1:
        load_network(network, files[0])
        return network
    members = [copy.deepcopy(network) for _ in files]
    for member, file in zip(members, files, strict=True):
        load_network(member, file)
    return Ensemble(members)


def initialize_weights(network: nn.Module, path: str | Path | None) -> None:
    """Start `network` from the weights in a checkpoint; nothing happens without a path.

    A head of other classes is left as it is, new, and the log says so.

    Raises:
        InputError: When the checkpoint is of another network.
    """
    if not path:
        return
    weights, own = load_weights(path), network.state_dict()
    _require_same_names(path, weights, network)
    changed = [name for name in own if weights[name].shape != own[name].shape]
    for name in changed:
        if not name.startswith("head."):
            raise _other_shape(path, name, weights[name], own[name])
    network.load_state_dict({name: own[name] if name in changed else weights[name] for name in own})
    logger.info("starting from the weights of %s%s.", path, "; the head is new (other classes)" if changed else "")


def _require_same_names(path: str | Path, weights: dict[str, torch.Tensor], network: nn.Module) -> None:
    odd = sorted(set(weights) ^ set(network.state_dict()))
    if odd:
        where = "the checkpoint" if odd[0] in weights else "the network"
        raise InputError(
            f"{path}: is of another network: only {where} has {odd[0]} ({len(odd)} names differ); {AS_TRAINED}."
        )


def _other_shape(path: str | Path, name: str, found: torch.Tensor, expected: torch.Tensor) -> InputError:
    return InputError(
        f"{path}: is of another network: {name} has shape {tuple(found.shape)}, here it is {tuple(expected.shape)}; "
        f"{AS_TRAINED}."
    )
