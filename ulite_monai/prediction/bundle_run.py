"""The `run` of inference.json: one case that fails is reported and never loses the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from monai.data import DataLoader, Dataset
from monai.transforms import Compose

from ulite_monai.errors import InputError, input_error, reason
from ulite_monai.io.atomic import OutputLost
from ulite_monai.io.cases import case_items, find_cases
from ulite_monai.transforms.save_segmentation import SaveSegmentationd

if TYPE_CHECKING:
    from monai.engines import Evaluator

__all__ = ["items", "run_cases"]

logger = logging.getLogger(__name__)


def items(dataset_dir: str | None, channels: int = 1) -> list[dict[str, Any]]:
    """The cases at `dataset_dir`, of images of so many channels, as a MONAI data list; see `find_cases`.

    Raises:
        InputError: When it isn't given, or nothing is there.
    """
    if not dataset_dir:
        raise InputError("dataset_dir is not set: give a volume, a folder or a data list, --dataset_dir PATH.")
    return case_items(find_cases(dataset_dir, channels))


def run_cases(evaluator: Evaluator, dataset: Dataset, postprocessing: Compose | None = None) -> None:
    """Run `evaluator` on one case of `dataset` after the other.

    Args:
        evaluator: a MONAI evaluation engine whose post-processing writes the results.
        dataset: entries with `image` and `case_id`.
        postprocessing: the evaluator's; what its `SaveSegmentationd` can't write is refused before the network runs.

    Raises:
        InputError: When two cases would write one file, or the output takes nothing more; at the end, when a case
            failed: it names each of them.
    """
    steps = postprocessing.transforms if postprocessing is not None else ()
    savers = [step for step in steps if isinstance(step, SaveSegmentationd)]
    for saver in savers:
        saver.require_apart(dataset.data)
    failures: list[str] = []
    for index, item in enumerate(dataset.data):
        error = _run_case(evaluator, item, dataset, savers)
        if error is not None:
            lost = input_error(error)
            if isinstance(lost, OutputLost):
                raise InputError(f"{lost} {index} of {len(dataset.data)} cases were run.") from error
            failures.append(f"{_name(item)}: {reason(error)}")
            logger.error("case %d of %d failed, %s", index + 1, len(dataset.data), failures[-1])
    if failures:
        raise InputError(f"{len(failures)} of {len(dataset.data)} cases failed:\nerror: " + "\nerror: ".join(failures))


def _run_case(
    evaluator: Evaluator, item: dict[str, Any], dataset: Dataset, savers: Sequence[SaveSegmentationd]
) -> Exception | None:
    from ignite.engine import Events  # here: `ulite predict` reads the configuration and does without Ignite

    errors: list[Exception] = []
    try:
        for saver in savers:
            saver.require_writable(item)
    except InputError as error:
        return error
    # An engine that ends by an exception can't run again; one whose exception is handled can.
    with evaluator.add_event_handler(Events.EXCEPTION_RAISED, lambda error: errors.append(error)):
        evaluator.data_loader = DataLoader(Dataset([item], dataset.transform), batch_size=1)
        evaluator.state.epoch_length = 1
        evaluator.run()
    return errors[0] if errors else None


def _name(item: dict[str, Any]) -> str:
    return str(item.get("case_id", item["image"]))
