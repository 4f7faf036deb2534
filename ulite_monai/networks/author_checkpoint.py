"""Reads weights that were trained with the authors' PyTorch implementation of U-Lite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ulite_monai.networks.ulite import ULite

__all__ = ["load_author_checkpoint"]

LIGHTNING_PREFIX = "model."


def load_author_checkpoint(network: ULite, checkpoint: str | Path | Mapping[str, Any]) -> None:
    """Load a state dict of the authors' implementation into `ULite(2, 3, 1)`.

    Args:
        network: receives the weights; 2D, with the paper's features and kernels.
        checkpoint: the state dict, or the path of a file that holds it, plain or as PyTorch Lightning saves it
            (below `state_dict`, with the prefix `model.`).

    Raises:
        ValueError: When the network isn't 2D, the content is no state dict, or an entry is missing, unknown or of
            another shape; the message names it.
        OSError: When the file can't be read.
    """
    if network.spatial_dims != 2:
        raise ValueError("The authors' implementation is 2D, but the network has spatial_dims=3.")
    theirs = _state_dict(checkpoint)
    loaded: dict[str, torch.Tensor] = {}
    used: set[str] = set()
    for name, own in network.state_dict().items():
        source = _author_name(name, len(network.encoder))
        if source not in theirs:
            raise ValueError(f"The checkpoint lacks {source} (for {name}).")
        used.add(source)
        value = theirs[source]
        if value.shape != own.shape:
            raise ValueError(f"{source} has shape {tuple(theirs[source].shape)}, which doesn't fit {name}.")
        loaded[name] = value
    unknown = sorted(set(theirs) - used)
    if unknown:
        raise ValueError(f"The checkpoint holds {unknown[0]}, which U-Lite doesn't have ({len(unknown)} such entries).")
    network.load_state_dict(loaded)


def _state_dict(checkpoint: str | Path | Mapping[str, Any]) -> dict[str, torch.Tensor]:
    content: Any = checkpoint
    if isinstance(checkpoint, str | Path):
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise ValueError(f"The checkpoint holds a {type(content).__name__}, not a state dict.")
    if isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
        foreign = [name for name in content if not name.startswith(LIGHTNING_PREFIX)]
        if foreign:
            raise ValueError(f"The Lightning checkpoint holds {foreign[0]}, which doesn't start with model.")
    other = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if other:
        raise ValueError(f"The checkpoint's {other[0]} is a {type(content[other[0]]).__name__}, not a tensor.")
    return {name.removeprefix(LIGHTNING_PREFIX): value for name, value in content.items()}


def _author_name(name: str, levels: int) -> str:
    """Their name of our entry `name`."""
    block, *rest = name.split(".")
    if block == "stem":
        return ".".join(["conv_in", *rest])
    if block == "head":
        return ".".join(["conv_out", *rest])
    if block == "encoder":
        return f"e{int(rest[0]) + 1}." + _in_block(rest[1:])
    if block == "bottleneck":
        return f"b{levels}." + _in_block(rest)
    return f"d{levels - int(rest[0])}." + _in_block(rest[1:])


def _in_block(parts: list[str]) -> str:
    """`dw.convs.0.weight` -> `dw.dw_h.weight`, `dws.1.convs.1.bias` -> `dw2.dw_w.bias`, `norm` -> `bn`."""
    if parts[0] == "dws":
        parts = [f"dw{int(parts[1]) + 1}", *parts[2:]]
    if "convs" in parts:
        at = parts.index("convs")
        parts = [*parts[:at], ("dw_h", "dw_w")[int(parts[at + 1])], *parts[at + 2 :]]
    return ".".join("bn" if part == "norm" else part for part in parts)
