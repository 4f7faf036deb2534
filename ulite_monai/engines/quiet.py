"""Lines of MONAI's and Ignite's that no user can act on, by name."""

from __future__ import annotations

import logging
import warnings

__all__ = ["silence_noise"]

NOISE = (
    "NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",  # its readers are made, not used
    r"parsing config_file .*`eval\(\)`",  # README and help say that a bundle is code
)
LOGGERS = {
    "monai.data.nvimgcodec_pydicom_plugin": logging.ERROR,
    "monai.bundle.workflows": logging.ERROR,  # that it was told to write no log
    "ignite.engine.engine": logging.CRITICAL,  # whoever ran it reports what ended it
}


def silence_noise() -> None:
    """From now on these lines aren't shown in this process; all others are."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    for name, level in LOGGERS.items():
        logging.getLogger(name).setLevel(level)
