"""What a bundle's training needs beyond MONAI's engines: checked data, folds, exact resumption, a record of the run."""

from ulite_monai.datasets.folds import how_split, split
from ulite_monai.datasets.label_maps import label_maps, seeded
from ulite_monai.datasets.labelled import (
    class_names,
    class_values,
    flips_beside_sides,
    labelled_set,
    require_names_of_data,
    require_unflipped_sides,
    require_usable,
)
from ulite_monai.training.averaging import AveragedWeights
from ulite_monai.training.bar import ShowBar
from ulite_monai.training.checkpoints import CheckpointHandler
from ulite_monai.training.keep_time import KeepTime
from ulite_monai.training.known_voxels import known_voxels
from ulite_monai.training.measure import measured_budget
from ulite_monai.training.mixed_precision import MixedPrecisionInferer
from ulite_monai.training.pictures import DrawPictures
from ulite_monai.training.progress import OnFirstRank, PrintEpochs, shared_handler
from ulite_monai.training.reproducibility import SeedEachEpoch, StopAtNonFiniteLoss
from ulite_monai.training.run import require_writable, run_training
from ulite_monai.training.settings import require_settings
from ulite_monai.training.sizes import cache_rate, cache_types, caches_in_half, foreground_share
from ulite_monai.training.validation import CaseDice, ValidateEpochs, evenly

__all__ = [
    "AveragedWeights",
    "CaseDice",
    "CheckpointHandler",
    "DrawPictures",
    "KeepTime",
    "MixedPrecisionInferer",
    "OnFirstRank",
    "PrintEpochs",
    "SeedEachEpoch",
    "ShowBar",
    "StopAtNonFiniteLoss",
    "ValidateEpochs",
    "cache_rate",
    "cache_types",
    "caches_in_half",
    "class_names",
    "class_values",
    "evenly",
    "flips_beside_sides",
    "foreground_share",
    "how_split",
    "known_voxels",
    "label_maps",
    "labelled_set",
    "measured_budget",
    "require_names_of_data",
    "require_settings",
    "require_unflipped_sides",
    "require_usable",
    "require_writable",
    "run_training",
    "seeded",
    "shared_handler",
    "split",
]
