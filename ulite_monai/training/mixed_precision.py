"""Mixed precision for a training on any device; MONAI's engines have it for CUDA alone."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SimpleInferer

__all__ = ["MixedPrecisionInferer"]


class MixedPrecisionInferer(SimpleInferer):
    """MONAI's `SimpleInferer`, whose network runs in bfloat16 where that is safe, on a CPU as on a GPU.

    Weights, loss and gradients of the weights stay float32. bfloat16 has the range of float32, so no loss is scaled.

    Args:
        amp: whether to; without it this is a `SimpleInferer`.
    """

    def __init__(self, amp: bool = True) -> None:
        super().__init__()
        self.amp = amp

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Float32 logits of `inputs`, any shape that `network` takes."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            logits = super().__call__(inputs, network, *args, **kwargs)
        return logits.float()
