"""Lines that dependencies print each time and that nobody who reads them can act on."""

from __future__ import annotations

import logging
import warnings

__all__ = ["quiet_dependencies"]

WARNINGS = (
    "NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register",  # MONAI, without NVIDIA's decoder
    "parsing config_file",  # MONAI of any bundle's configuration; `--bundle` says that its code is run
)
LOGGERS = {
    "monai.data.nvimgcodec_pydicom_plugin": logging.ERROR,
    "ignite.engine.engine": logging.CRITICAL,
}


def quiet_dependencies() -> None:
    """Silence these lines, each by its name, for the rest of the process; all others stay."""
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name, level in LOGGERS.items():
        logging.getLogger(name).setLevel(level)
