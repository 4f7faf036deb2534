"""What a bundle's training needs beyond MONAI's engines: checked data, folds, exact resumption, a record of the run."""

from ulite_monai.datasets.labelled import (
    class_names,
    flips_beside_sides,
    labelled_items,
    require_names_of_data,
    require_unflipped_sides,
    require_usable,
    split,
)
from ulite_monai.training.averaging import AveragedWeights
from ulite_monai.training.checkpoints import CheckpointHandler
from ulite_monai.training.mixed_precision import MixedPrecisionInferer
from ulite_monai.training.progress import OnFirstRank, PrintEpochs, shared_handler
from ulite_monai.training.reproducibility import SeedEachEpoch, StopAtNonFiniteLoss
from ulite_monai.training.run import require_writable, run_training
from ulite_monai.training.settings import require_settings
from ulite_monai.training.sizes import cache_rate, foreground_share
from ulite_monai.training.validation import CaseDice

__all__ = [
    "AveragedWeights",
    "CaseDice",
    "CheckpointHandler",
    "MixedPrecisionInferer",
    "OnFirstRank",
    "PrintEpochs",
    "SeedEachEpoch",
    "StopAtNonFiniteLoss",
    "cache_rate",
    "class_names",
    "flips_beside_sides",
    "foreground_share",
    "labelled_items",
    "require_names_of_data",
    "require_settings",
    "require_unflipped_sides",
    "require_usable",
    "require_writable",
    "run_training",
    "shared_handler",
    "split",
]
