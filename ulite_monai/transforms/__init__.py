"""MONAI dictionary transforms over `ulite_monai.io`."""

from ulite_monai.transforms.save_segmentation import SaveSegmentationd

__all__ = ["SaveSegmentationd"]
