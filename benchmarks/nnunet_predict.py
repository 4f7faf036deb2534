"""nnU-Net v2's predictor with its default 3D plan and random weights; run by benchmarks/predict.py in its environment.

    python benchmarks/nnunet_predict.py plan IMAGE FOLDER
    python benchmarks/nnunet_predict.py predict FOLDER IMAGE MASK [--tiles N]

`plan` lets nnU-Net's planner make its plan for a data set of this one volume. `predict` reads the image, segments it
without mirroring and writes the mask; with `--tiles` it runs that many tiles only. It prints, as JSON, the peak
memory, how many tiles there are and were run, and the seconds of one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

DATASET = "Dataset001_Benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planning = commands.add_parser("plan")
    planning.add_argument("image", type=Path)
    planning.add_argument("folder", type=Path)
    predicting = commands.add_parser("predict")
    predicting.add_argument("folder", type=Path)
    predicting.add_argument("image", type=Path)
    predicting.add_argument("mask", type=Path)
    predicting.add_argument("--tiles", type=int)
    options = parser.parse_args()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(options.folder / name)  # read when nnunetv2 is imported
    if options.command == "plan":
        plan(options.image, options.folder)
    else:
        predict(options.folder, options.image, options.mask, options.tiles)


def plan(image: Path, folder: Path) -> None:
    import numpy as np
    import SimpleITK
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments

    dataset = folder / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (dataset / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(image, dataset / "imagesTr" / "a_0000.nii.gz")
    source = SimpleITK.ReadImage(str(image))
    label = SimpleITK.GetImageFromArray((SimpleITK.GetArrayFromImage(source) > 0).astype(np.uint8))
    label.CopyInformation(source)
    SimpleITK.WriteImage(label, str(dataset / "labelsTr" / "a.nii.gz"))
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "numTraining": 1}
    (dataset / "dataset.json").write_text(json.dumps(description | {"file_ending": ".nii.gz"}))
    extract_fingerprints([1], num_processes=1)
    plan_experiments([1])


def predict(folder: Path, image: Path, mask: Path, tiles: int | None) -> None:
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((folder / "preprocessed" / DATASET / "nnUNetPlans.json").read_text()))
    description = json.loads((folder / "raw" / DATASET / "dataset.json").read_text())
    configuration = plans.get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        input_channels=1,
        output_channels=2,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    weights = [network.state_dict()]
    predictor.manual_initialization(network, plans, configuration, weights, description, "nnUNetTrainer", None)
    counts: list[int] = []
    all_tiles = predictor._internal_get_sliding_window_slicers

    def some_tiles(size: tuple[int, ...]) -> list:
        found = all_tiles(size)
        counts.append(len(found))
        return found[:tiles]

    seconds: list[float] = []
    whole = predictor.predict_sliding_window_return_logits

    def timed(data: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        logits = whole(data)
        seconds.append(time.perf_counter() - start)
        return logits

    predictor._internal_get_sliding_window_slicers = some_tiles
    predictor.predict_sliding_window_return_logits = timed
    values, properties = SimpleITKIO().read_images([str(image)])
    predictor.predict_single_npy_array(values, properties, None, str(mask).removesuffix(".nii.gz"))
    run = min(tiles or counts[0], counts[0])
    print(json.dumps({"peak": peak_megabytes(), "tiles": counts[0], "run": run, "tile_seconds": seconds[0] / run}))


def peak_megabytes() -> int:  # benchmarks/machine.py's, which this environment can't import
    with open("/proc/self/status", encoding="utf-8") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmHWM"))) // 1024


if __name__ == "__main__":
    main()
