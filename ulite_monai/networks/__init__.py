"""U-Lite and its blocks."""

from ulite_monai.networks.ulite import ULite

__all__ = ["ULite"]
