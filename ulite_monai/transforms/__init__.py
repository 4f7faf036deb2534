"""MONAI dictionary transforms over `ulite_monai.io`."""

from ulite_monai.transforms.load_volume import LoadVolumed
from ulite_monai.transforms.save_segmentation import SaveSegmentationd

__all__ = ["LoadVolumed", "SaveSegmentationd"]
