"""What nobody can act on isn't printed; what somebody can is."""

import subprocess
import sys

import pytest

NOISE = """
import logging, warnings
from ulite_monai.engines.quiet import silence_noise
logging.basicConfig(level=logging.INFO)
silence_noise()
from monai.transforms import LoadImage
LoadImage()
warnings.warn("parsing config_file a.json: any value is passed to Python `eval()`.")
from ignite.engine import Engine
try:
    Engine(lambda engine, batch: 1 / 0).run([1])
except ZeroDivisionError:
    pass
warnings.warn("the scanner is on fire")
"""


@pytest.mark.slow
def test_known_lines_are_silenced_by_name_and_others_stay():
    done = subprocess.run([sys.executable, "-W", "default", "-c", NOISE], text=True, capture_output=True)
    assert done.returncode == 0
    for words in ("NvImgCodec", "nvImageCodec", "parsing config_file", "terminating due to exception"):
        assert words not in done.stderr
    assert "the scanner is on fire" in done.stderr
