"""U-Lite and its blocks."""

from ulite_monai.networks.author_checkpoint import load_author_checkpoint
from ulite_monai.networks.ensemble import Ensemble
from ulite_monai.networks.fuse import FusedULite, fuse
from ulite_monai.networks.ulite import ULite

__all__ = ["Ensemble", "FusedULite", "ULite", "fuse", "load_author_checkpoint"]
