"""From images to masks by a bundle: one image from Python, or whatever a researcher has from the command line."""

from ulite_monai.prediction.bundle_run import items, run_bundle
from ulite_monai.prediction.heads import HeadCascade
from ulite_monai.prediction.merge_parts import Merged, merge_parts
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.part import Part
from ulite_monai.prediction.predict import predict
from ulite_monai.prediction.predict_cases import predict_cases
from ulite_monai.prediction.segmenter import Segmentation, Segmenter

__all__ = [
    "CaseResult",
    "HeadCascade",
    "Merged",
    "Part",
    "PredictOptions",
    "Segmentation",
    "Segmenter",
    "items",
    "merge_parts",
    "predict",
    "predict_cases",
    "run_bundle",
]
