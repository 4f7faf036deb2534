"""Silence about what DICOM headers hold."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_pydicom"]


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Let pydicom and highdicom neither warn nor log: they quote values, which may be the patient's."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
