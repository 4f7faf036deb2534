"""What a planned bundle's training takes on one core: reading a case, cutting and changing a patch, a step.

`nice -n 19 python -m benchmarks.plan_rates BUNDLE DATASET`, in seconds of the processor, so that a busy machine counts
less.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from ulite_monai.engines.allocator import keep_freed_memory
from ulite_monai.transforms import PatchStartsd

REPEATS = 5


def main() -> None:
    """Print a row for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("dataset", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    config = json.loads((given.bundle / "configs" / "train.json").read_text(encoding="utf-8"))
    config |= {"bundle_root": str(given.bundle), "dataset_dir": str(given.dataset), "device": "cpu", "cache_rate": 0.0}
    parsed = ConfigParser(config)
    part = parsed.get_parsed_content

    times: Counter[str] = Counter()
    case = run(part("image_preprocessing") + part("label_preprocessing"), dict(part("items")[0]), times)
    print(f"a case: {sum(times.values()):.2f} s")
    first, *others = part("augmentation")
    case, others = (first(case), others) if isinstance(first, PatchStartsd) else (case, [first, *others])
    times.clear()
    for _ in range(REPEATS):
        run([*others, *part("plain_tensors")], dict(case), times)
    patch = sum(times.values()) / REPEATS
    slowest = ", ".join(f"{name} {1000 * spent / REPEATS:.1f}" for name, spent in times.most_common(3))
    print(f"a patch: {1000 * patch:.0f} ms ({slowest})")

    size, batch = part("patch_size"), part("batch_size")
    step = min(timed(lambda: train(part, size, batch)) for _ in range(REPEATS))
    cells = batch * math.prod(size) / math.prod(part("network_def").stem_stride)
    print(
        f"a step of {batch}: {step:.2f} s, {cells / step:,.0f} cells a second; its patches {batch * patch / step:.0%}"
    )


def run(steps: Iterable[Callable[[Any], Any]], data: Any, times: Counter[str]) -> Any:
    for step in steps:
        started = time.process_time()
        data = step(data)
        times[type(step).__name__] += time.process_time() - started
    return data


def timed(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def train(part: Callable[[str], Any], size: list[int], batch: int) -> None:
    network, optimizer = part("network"), part("optimizer")
    logits = network.train()(torch.randn(batch, part("in_channels"), *size))
    part("loss")(logits, torch.zeros_like(logits).index_fill_(1, torch.tensor(0), 1.0)).backward()
    optimizer.step()
    optimizer.zero_grad()


if __name__ == "__main__":
    main()
