"""Write the configurations of the shipped bundles: `python -m ulite_monai.planning`, in a checkout."""

from __future__ import annotations

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.planning.compose import shipped_configs
from ulite_monai.planning.json_text import write_json

for name in BUNDLES:
    for file, content in shipped_configs(name).items():
        write_json(find_bundle(name) / "configs" / file, content)
