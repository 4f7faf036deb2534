"""The whole volume in one pass when it fits, windows when it doesn't."""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInfererAdapt

from ulite_monai.engines.memory import bytes_per_voxel, free_memory
from ulite_monai.errors import InputError

__all__ = ["VolumeInferer"]

logger = logging.getLogger(__name__)


class VolumeInferer(SlidingWindowInfererAdapt):
    """MONAI's sliding-window inferer that needs no windows for a volume whose activations fit the memory.

    A fully convolutional network gives the same mask without windows, faster, and without their borders. One pass is
    made when the network's activations take at most `max_memory`; otherwise Gaussian-weighted windows run, of the
    size that fits and computes the fewest voxels more than once, stitched where memory is left (MONAI's behaviour). A
    network of 2D images runs over the slices of a volume, each in one pass or in windows by the same rule.

    Args:
        roi_size: the smallest window, one number per axis of the network's input, 0 for the whole axis. It is
            used even where it takes more than `max_memory`.
        sw_batch_size: windows, or slices of a volume, in a batch.
        overlap: overlap of neighbouring windows of `roi_size`, in [0, 1). Larger windows overlap by as many voxels:
            what a voxel needs around it doesn't grow with the window, and the volume is computed fewer times.
        grow_windows: whether windows may be larger than `roi_size`, up to the whole image. False for a network that
            was trained on patches of about `roi_size` cut from larger images: where its field of view is wider than
            those, it hasn't learnt what the context says, and its masks may get worse with more of it.
        max_memory: bytes that the network's activations may take, as `ulite_monai.engines.memory.bytes_per_voxel`
            estimates them; None for 2 GiB on a CPU, so that masks don't depend on the machine, and for half of what
            is free on a GPU, rounded down to a power of two, so that they seldom depend on what else it does.
        slice_axis: spatial axis of a volume along which a network of 2D images runs over its slices.
        kwargs: further arguments of MONAI's `SlidingWindowInferer`, but `cache_roi_weight_map`.

    Attributes:
        last_run: how the last image was run, in words.
        on_window: called with the number of batches of windows or slices done and their total, where there is more
            than one.

    Raises:
        InputError: When `overlap` or `max_memory` is out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        sw_batch_size: int = 1,
        overlap: float = 0.5,
        grow_windows: bool = True,
        max_memory: int | None = None,
        slice_axis: int = -1,
        **kwargs: Any,
    ) -> None:
        if not 0 <= overlap < 1:
            raise InputError(f"overlap must be at least 0 and below 1, got {overlap!r}.")
        if max_memory is not None and (isinstance(max_memory, bool | str) or not max_memory > 0):
            raise InputError(
                f"max_memory must be a number of bytes above 0, or None for 2 GiB on a CPU and half of what is free "
                f"on a GPU (in a configuration and on its command line '$None'), got {max_memory!r}."
            )
        super().__init__(roi_size, sw_batch_size=sw_batch_size, overlap=overlap, **({"mode": "gaussian"} | kwargs))
        self.smallest_window, self.smallest_overlap = tuple(roi_size), overlap
        self.grow_windows = grow_windows
        self.max_memory = max_memory
        self.slice_axis = slice_axis
        self.last_run = ""
        self.on_window: Callable[[int, int], None] | None = None

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Logits `(batch, classes, *spatial)` of images `(batch, channels, *spatial)`."""
        of_slices = inputs.ndim - 2 == len(self.smallest_window) + 1
        logits = (self._over_slices if of_slices else self._over_image)(inputs, network, *args, **kwargs)
        level = logging.DEBUG if self.last_run == "one pass" else logging.INFO  # a validation does this for each case
        logger.log(level, "%s over %s", self.last_run, _by(inputs.shape[2:]))
        release = getattr(network, "release_memory", None)
        if release is not None:  # or it would lie beside what the logits take on their way back to the input's grid
            release()
        return logits

    def _over_image(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        image = tuple(inputs.shape[2:])
        voxels = self._voxels_that_fit(inputs.device, network)
        least = tuple(
            min(low, size) if low > 0 else size for low, size in zip(self.smallest_window, image, strict=True)
        )
        shared = tuple(width - max(1, int(width * (1 - self.smallest_overlap))) for width in least)
        if _best_window(least, shared, image, voxels // inputs.shape[0]) == image:
            self.last_run = "one pass"
            return network(inputs, *args, **kwargs)
        window = _best_window(least, shared, image, voxels // self.sw_batch_size)
        self.last_run = f"windows of {_by(window)}"
        # MONAI's step is the whole part of width * (1 - overlap); the half keeps rounding errors out of it.
        self.roi_size = window
        self.overlap = [max(0, common - 0.5) / width for common, width in zip(shared, window, strict=True)]
        windows = inputs.shape[0] * _windows(image, window, shared)
        counted = self._counted(network, math.ceil(windows / self.sw_batch_size))
        return super().__call__(inputs, counted, *args, **kwargs)

    def _voxels_that_fit(self, device: torch.device, network: Callable[..., Any]) -> int:
        if not self.grow_windows:
            return 0
        return int((self.max_memory or _budget(device)) // bytes_per_voxel(network))

    def _over_slices(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        axis = self.slice_axis % (inputs.ndim - 2) + 2
        batches = inputs.movedim(axis, 1).flatten(0, 1).split(self.sw_batch_size)
        logits = []
        for number, batch in enumerate(batches, start=1):
            logits.append(self._over_image(batch, network, *args, **kwargs))
            self._report(number, len(batches))
        self.last_run = f"slices, {self.last_run} each"
        return torch.cat(logits).unflatten(0, (inputs.shape[0], inputs.shape[axis])).movedim(1, axis)

    def _counted(self, network: Callable[..., Any], total: int) -> Callable[..., Any]:
        done = 0

        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            logits = network(*args, **kwargs)
            done += 1
            self._report(done, total)
            return logits

        return run

    def _report(self, done: int, total: int) -> None:
        if self.on_window is not None:
            self.on_window(done, total)


def _budget(device: torch.device) -> int:
    if device.type == "cpu":
        return 2 * 2**30
    return 1 << max(0, (free_memory(device) // 2).bit_length() - 1)


@functools.lru_cache(maxsize=16)  # every slice of a volume asks for the same
def _best_window(
    least: tuple[int, ...], shared: tuple[int, ...], image: tuple[int, ...], voxels: int
) -> tuple[int, ...]:
    """Of the windows of at least `least` and at most `voxels`, those that compute the fewest voxels of the image.

    Neighbours have `shared` voxels of each axis in common.
    """
    if math.prod(image) <= voxels:
        return image
    widths = [_widths(*of_axis) for of_axis in zip(least, shared, image, strict=True)]
    fitting = [window for window in itertools.product(*widths) if math.prod(window) <= voxels]
    return min(
        fitting or [least],
        key=lambda window: (_windows(image, window, shared) * math.prod(window), -math.prod(window)),
    )


def _widths(least: int, shared: int, size: int) -> list[int]:
    """The narrowest windows that cover an axis by one, two, three, ... of them, and the least that is allowed."""
    counts = range(1, 1 + _windows([size], [least], [shared]))
    widths = (math.ceil((size + (count - 1) * shared) / count) for count in counts)
    return sorted({least, *(width for width in widths if width > least)})


def _windows(image: Sequence[int], window: Sequence[int], shared: Sequence[int]) -> int:
    """How many windows MONAI lays over an image."""
    return math.prod(
        1 + math.ceil((size - width) / (width - common))
        for size, width, common in zip(image, window, shared, strict=True)
    )


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
