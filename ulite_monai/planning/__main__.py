"""Write the shipped bundles' configurations, and copy the locator: `python -m ulite_monai.planning`, in a checkout."""

from __future__ import annotations

import shutil

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.planning.compose import shipped_configs
from ulite_monai.planning.json_text import write_json

for name in BUNDLES:
    for file, content in shipped_configs(name).items():
        write_json(find_bundle(name) / "configs" / file, content)

locator = find_bundle("head_locator") / "models" / "model.pt"
shutil.copyfile(locator, find_bundle("hippocampus") / "models" / "locator.pt")
