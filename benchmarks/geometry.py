"""What the readers do with each folder of the public odd data, and how fast the large series is read.

    python benchmarks/geometry.py [DATA] [--repeats 5]

DATA holds `dicom/` and `odd_nifti/` (default: $ULITE_TEST_DATA, else shared/data beside the checkout). Prints two
tables in Markdown; the exit code is 1 if a verdict isn't the expected one. Needs the extra `dicom`, and SimpleITK for
the second table, where each reading runs in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.dicom.volume import read_series
from ulite_monai.io.nifti import read_nifti

ROOT = Path(__file__).resolve().parents[1]
LARGE = "dicom/mr_t1_large_384slices"

# Folder -> how many volumes are read, and a word that each refusal must hold.
EXPECTED: dict[str, tuple[int, tuple[str, ...]]] = {
    "dicom/mr_t1_large_384slices": (1, ()),
    "dicom/multi_timepoint_ge_epi": (10, ()),
    "dicom/multiframe/hyperfine_enhanced_noise_pixels": (1, ()),
    "dicom/multiframe/philips_enhanced_noise_pixels": (1, ()),
    "dicom/multiframe/pydicom_emri_ect": (1, ("no position for each",) * 5 + ("cut short",)),
    "dicom/multiframe/siemens_enhanced_noise_pixels": (1, ()),
    "dicom/odd_series/ct_flipped_iop_17slices": (1, ()),
    "dicom/odd_series/hitachi_oblique": (1, ()),
    "dicom/odd_series/monai_ct_irregular_spacing": (0, ("unevenly spaced",)),
    "dicom/odd_series_noise_pixels/gantrytilting_001": (0, ("tilted by 14.00 degrees",)),
    "dicom/odd_series_noise_pixels/notavolume_001": (0, ("one position",)),
    "dicom/odd_series_noise_pixels/single_slice": (1, ()),
    "dicom/odd_series_noise_pixels/slicecount_001": (1, ()),
    "dicom/odd_series_noise_pixels/sliceincrement_001": (0, ("unevenly spaced",)),
    "dicom/odd_series_noise_pixels/sliceorientation_001": (2, ()),
    "dicom/transfer_syntax_series_noise_pixels/anatomical": (1, ()),
    "dicom/transfer_syntax_series_noise_pixels/compressed_j2k": (1, ()),
    "dicom/transfer_syntax_series_noise_pixels/compressed_jpeg": (1, ()),
    "dicom/transfer_syntax_series_noise_pixels/compressed_jpegls": (1, ()),
    "dicom/transfer_syntax_series_noise_pixels/compressed_rle": (1, ()),
    "odd_nifti/analyze75_pair": (1, ()),
    "odd_nifti/big_endian_handedness": (2, ()),
    "odd_nifti/complex": (0, ("complex",)),
    "odd_nifti/nan_voxels": (0, ("NaN",)),
    "odd_nifti/nibabel_tests": (3, ("volumes",) * 2),
    "odd_nifti/nifti2": (0, ("volumes",)),
    "odd_nifti/orientations_48": (8, ()),
    "odd_nifti/rgb24": (0, ("colours",)),
    "odd_nifti/scaled_int16": (1, ()),
    "odd_nifti/zero_codes": (1, ("complex", "volumes")),
}

OURS = """
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.dicom.volume import read_series
def read(folder): return read_series(find_series(folder).series[0]).array
"""
SIMPLEITK = """
import SimpleITK as sitk
def read(folder): return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder))
"""
# The first reading imports what is imported late; the second is timed.
MEASURE = """
import resource, sys, time
read(sys.argv[1])
start = time.perf_counter(); read(sys.argv[1])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> int:
    arguments = _arguments()
    wrong = print_verdicts(arguments.data)
    print_times(arguments.data / LARGE, arguments.repeats)
    return 1 if wrong else 0


def print_verdicts(data: Path) -> list[str]:
    """Print the table of folders; returns those whose verdict isn't the expected one."""
    wrong = []
    print("| folder | read | refused | expected |\n|---|---|---|---|")
    for folder, (volumes, refusals) in EXPECTED.items():
        read, refused = _read_dicom(data / folder) if folder.startswith("dicom") else _read_files(data / folder)
        as_expected = len(read) == volumes and _matches(refused, refusals)
        if not as_expected:
            wrong.append(folder)
        print(f"| {folder} | {_brief(read)} | {_brief(refused)} | {'yes' if as_expected else '**NO**'} |")
    return wrong


def print_times(folder: Path, repeats: int) -> None:
    """Print seconds and peak memory of reading one series, ours and SimpleITK's in turn."""
    seconds: dict[str, list[float]] = {"ulite_monai": [], "SimpleITK": []}
    memory: dict[str, float] = {}
    for _ in range(repeats):
        for name, code in (("ulite_monai", OURS), ("SimpleITK", SIMPLEITK)):
            command = [sys.executable, "-c", code + MEASURE, str(folder)]
            env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            time, peak = map(float, done.stdout.split())
            seconds[name].append(time)
            memory[name] = max(memory.get(name, 0), peak)
    print("\n| reader | seconds (median) | least | most | peak memory of the process, MiB |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {median:.3f} | {min(times):.3f} | {max(times):.3f} | {memory[name]:.0f} |")
    ratio = statistics.median(seconds["ulite_monai"]) / statistics.median(seconds["SimpleITK"])
    print(f"\n{folder.name}: {ratio:.2f} times SimpleITK's seconds.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("ULITE_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("data", type=Path, nargs="?", default=Path(default))
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _read_dicom(folder: Path) -> tuple[list[str], list[str]]:
    read, refused = [], []
    for series in find_series(folder).series:
        try:
            volume = read_series(series)
            read.append(f"{_size(volume.array.shape)} {series.orientation}")
        except InputError as error:
            refused.append(str(error).partition(": ")[2])
    return read, refused


def _read_files(folder: Path) -> tuple[list[str], list[str]]:
    read, refused = [], []
    for file in sorted(folder.iterdir()):
        if ".img" in file.suffixes:  # the other half of a .hdr
            continue
        try:
            volume = read_nifti(file)
            read.append(_size(volume.array.shape) + (" (warned)" if volume.warnings else ""))
        except InputError as error:
            refused.append(str(error).partition(": ")[2])
    return read, refused


def _matches(refused: list[str], words: tuple[str, ...]) -> bool:
    left = list(words)
    for reason in refused:
        word = next((word for word in left if word in reason), None)
        if word is None:
            return False
        left.remove(word)
    return not left


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _brief(texts: list[str]) -> str:
    counted = {text: texts.count(text) for text in texts}
    return "; ".join(text if count == 1 else f"{count} times {text}" for text, count in counted.items())


if __name__ == "__main__":
    sys.exit(main())
