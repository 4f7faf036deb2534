"""Warnings of MONAI's that no user can act on, by name."""

from __future__ import annotations

import logging
import warnings

__all__ = ["silence_noise"]

NOISE = (
    "NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",  # its readers are made, not used
    r"parsing config_file .*`eval\(\)`",  # README and help say that a bundle is code
)


def silence_noise() -> None:
    """From now on these warnings aren't shown in this process; all others are."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)  # the same, once more
