"""MONAI dictionary transforms over `ulite_monai.io`."""

from ulite_monai.transforms.argmax import ArgMaxd
from ulite_monai.transforms.class_numbers import ClassNumbersd
from ulite_monai.transforms.foreground import above_background
from ulite_monai.transforms.head_classes import HeadClassesd
from ulite_monai.transforms.labels_on_input_grid import LabelsOnInputGridd
from ulite_monai.transforms.load_volume import LoadVolumed
from ulite_monai.transforms.patches import PatchStartsd, RandPatchd
from ulite_monai.transforms.random_flips import RandFlipsd
from ulite_monai.transforms.scale_by_percentiles import ScaleByPercentilesd
from ulite_monai.transforms.shrink_by_mean import ShrinkByMeand
from ulite_monai.transforms.spacing import SpacingOfKeysd
from ulite_monai.transforms.straight_boundary import StraightBoundaryd
from ulite_monai.transforms.synthesize_from_labels import SynthesizeFromLabelsd

__all__ = [
    "ArgMaxd",
    "ClassNumbersd",
    "HeadClassesd",
    "LabelsOnInputGridd",
    "LoadVolumed",
    "PatchStartsd",
    "RandFlipsd",
    "RandPatchd",
    "ScaleByPercentilesd",
    "ShrinkByMeand",
    "SpacingOfKeysd",
    "StraightBoundaryd",
    "SynthesizeFromLabelsd",
    "above_background",
]
