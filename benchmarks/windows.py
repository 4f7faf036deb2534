"""Windows against one pass: how far the masks agree, and which is nearer to the truth.

    python -m benchmarks.windows [DATA] --ckpt FOLD_0/model.pt     # on the validation cases of fold 0
    python -m benchmarks.windows --sample bundle/runs/sample/model.pt    # the sample's model on the whole template

DATA is Task04_Hippocampus (default: shared/data beside the checkout). Prints mean Dice over the cases, in Markdown.
Without `--ckpt` the shipped weights run, which were trained on those cases, too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from ulite_monai.prediction import Segmenter
from ulite_monai.reports.metrics import overlap

ROOT = Path(__file__).resolve().parents[1]
Cases = list[tuple[Path, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared" / "data" / "Task04_Hippocampus")
    parser.add_argument("--ckpt", type=Path, help="weights of a training of fold 0")
    parser.add_argument("--sample", type=Path, help="weights of the sample's training")
    parser.add_argument("--windows", type=int, nargs="+", default=[32, 48, 64, 96])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.sample is None:
            print_table(list(hippocampus_cases(options.data)), options.ckpt, {}, options.windows)
        else:
            labels = {"labels": ["grey matter", "white matter"]}
            print_table([template(Path(folder))], options.sample, labels, options.windows)


def hippocampus_cases(data: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """Images and labels of fold 0's validation cases."""
    for name in json.loads((ROOT / "bundle" / "docs" / "folds.json").read_text())["validation"][0]:
        label = nib.load(data / "labelsTr" / f"{name}.nii.gz")
        yield data / "imagesTr" / f"{name}.nii.gz", np.asarray(label.dataobj)


def template(folder: Path) -> tuple[Path, np.ndarray]:
    """The T1 template whose blocks the sample is made of, and its grey and white matter."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    image = load_mni152_template(resolution=1)
    values = np.round(np.asarray(image.dataobj) * 1000).astype(np.int16)
    nib.save(nib.Nifti1Image(values, image.affine), folder / "template.nii.gz")
    loads = (load_mni152_gm_template, load_mni152_wm_template)
    grey, white = (np.asarray(load(resolution=1).dataobj) > 0.5 for load in loads)
    return folder / "template.nii.gz", grey + 2 * white


def print_table(cases: Cases, ckpt: Path | None, ids: dict, sizes: list[int]) -> None:
    whole = masks(cases, ckpt, ids | {"max_memory": 2**50, "grow_windows": True})  # whatever run.json says
    names = [f"{value}" for value in ids.get("labels", ("anterior", "posterior"))]
    heads = [f"{name}: with {other}" for name in names for other in ("one pass", "the truth")]
    print(f"{len(cases)} cases\n\n| run in | " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads))
    print_row("one pass", whole, whole, cases)
    for size in sizes:
        found = masks(cases, ckpt, ids | {"roi_size": [size] * 3, "grow_windows": False})
        print_row(f"windows of {size}", found, whole, cases)


def masks(cases: Cases, ckpt: Path | None, ids: dict) -> list[np.ndarray]:
    segmenter = Segmenter(ROOT / "bundle", ckpt, "cpu", overrides=ids)
    return [segmenter({"image": str(image)}).mask for image, _ in cases]


def print_row(name: str, found: list[np.ndarray], whole: list[np.ndarray], cases: Cases) -> None:
    truth = [label for _, label in cases]
    cells = [f"{mean_dice(found, other, value):.4f}" for value in (1, 2) for other in (whole, truth)]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def mean_dice(some: list[np.ndarray], others: list[np.ndarray], value: int) -> float:
    return float(np.mean([overlap(one == value, other == value) for one, other in zip(some, others, strict=True)]))


if __name__ == "__main__":
    main()
