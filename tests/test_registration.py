"""ULite as one of MONAI's networks. Each test runs in a fresh process: what is imported when is the point."""

import json
import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        "import ulite_monai; import monai",
        "import monai; import ulite_monai",
        "import ulite_monai.networks",
        "import ulite_monai; import monai.bundle",
        "from ulite_monai import ULite",
    ],
)
def test_import_from_monais_namespace(order):
    assert (
        run(f"{order}; from monai.networks.nets import ULite; print(ULite.__module__)") == "ulite_monai.networks.ulite"
    )


def test_import_of_the_package_alone_loads_neither_torch_nor_monai():
    assert run("import ulite_monai, sys; print('torch' in sys.modules, 'monai' in sys.modules)") == "False False"


@pytest.mark.slow
def test_short_name_in_a_bundle_configuration():
    code = """
from monai.bundle import ConfigParser
config = {"imports": ["$import ulite_monai"],
          "net": {"_target_": "ULite", "spatial_dims": 2, "in_channels": 3, "out_channels": 1}}
net = ConfigParser(config).get_parsed_content("net")
print(type(net).__name__, sum(p.numel() for p in net.parameters()))
"""
    assert run(code) == "ULite 878417"


@pytest.mark.slow
def test_no_other_name_resolves_differently():
    code = """
import json, sys
{before}
from monai.bundle.config_item import ComponentLocator
locator = ComponentLocator()
locator.get_component_module_name("UNet")
table = locator._components_table
print(json.dumps({{name: sorted(modules) for name, modules in table.items()}}))
"""
    plain = json.loads(run(code.format(before="")))
    ours = json.loads(run(code.format(before="import ulite_monai")))
    assert len(plain) > 500
    assert {name for name in plain if plain[name] != ours.get(name)} == set()
    assert {name for name in set(ours) - set(plain) if not name.startswith("_")} == {"ULite"}


@pytest.mark.slow
def test_a_network_of_that_name_in_monai_is_kept():
    code = """
import monai.networks.nets as nets
nets.ULite = "theirs"
import ulite_monai
print(nets.ULite)
"""
    assert run(code) == "theirs"


@pytest.mark.slow
def test_registering_twice_changes_nothing():
    code = """
import ulite_monai, ulite_monai.registration as r, monai.bundle.config_item as c
r.register_with_monai(); r.register_with_monai()
print(c.ComponentLocator.MOD_START)
"""
    assert run(code) == "('monai', 'ulite_monai.networks.ulite')"


@pytest.mark.slow
def test_an_unknown_network_is_still_an_import_error():
    code = """
import ulite_monai
try:
    from monai.networks.nets import NoSuchNet
except ImportError as error:
    print("NoSuchNet" in str(error))
"""
    assert run(code) == "True"
