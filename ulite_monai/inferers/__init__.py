"""How a network is run over a volume."""

from ulite_monai.inferers.volume_inferer import VolumeInferer

__all__ = ["VolumeInferer"]
