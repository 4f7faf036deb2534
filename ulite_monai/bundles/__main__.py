"""Prints the folder of a bundle, for use in other commands: `python -m ulite_monai.bundles hippocampus`."""

import sys

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.errors import InputError, report_input_errors_in_one_line

report_input_errors_in_one_line()
if len(sys.argv) != 2:
    raise InputError(f"give the name of one bundle: {', '.join(BUNDLES)}.")
sys.stdout.write(f"{find_bundle(sys.argv[1])}\n")
