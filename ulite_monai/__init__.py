"""U-Lite, a segmentation network of fewer than a million parameters, as a MONAI network and MONAI bundles.

Importing this package makes `from monai.networks.nets import ULite` work and lets a bundle's configuration say
`"_target_": "ULite"`. For research use only; not for diagnosis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulite_monai.registration import register_with_monai

if TYPE_CHECKING:
    from ulite_monai.networks import ULite as ULite
    from ulite_monai.prediction import predict as predict

__version__ = "0.6.0"
__all__ = ["ULite", "__version__", "predict"]

register_with_monai()


def __getattr__(name: str) -> Any:
    # Torch and MONAI take seconds to import; `ulite --help` shouldn't wait for them.
    if name == "ULite":
        from ulite_monai.networks import ULite

        return ULite
    if name == "predict":
        from ulite_monai.prediction import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
