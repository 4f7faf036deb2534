"""Bundles: the templates of their configurations, and the one that a training leaves."""

from ulite_monai.planning.run_bundle import RunBundle

__all__ = ["RunBundle"]
