"""DICOM frames decoded; in a process of their own where the decoder may abort on damaged bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ulite_monai.io.dicom.quiet import quiet_pydicom
from ulite_monai.io.dicom.values import encoding
from ulite_monai.io.extras import require

__all__ = ["decode", "decode_apart", "may_abort"]

Job = tuple[Path, Sequence[int]]
PACKAGES = Path(__file__).resolve().parents[2]


def may_abort(syntax: str) -> bool:
    """Whether the only decoder at hand for a transfer syntax is GDCM, which may abort the process on damaged bytes."""
    return _plugin(syntax) == "gdcm"


def decode(job: Job) -> Iterator[np.ndarray]:
    """The stored values of some frames of a file, each (rows, columns).

    Raises:
        InputError: When pydicom is missing, or pydicom 3 for compressed frames.
        Exception: Whatever pydicom and its decoders raise about damaged bytes.
    """
    file, frames = job
    pydicom = require("pydicom", "dicom")
    with quiet_pydicom():
        dataset = pydicom.dcmread(file, force=True)
        _complete_meta(dataset)
        plugin = _plugin(dataset.file_meta.TransferSyntaxUID)
        if pydicom.__version_info__[0] == "2" and not plugin:
            yield from _by_pydicom_2(dataset, frames)
            return
        pixels = require("pydicom.pixels", "dicom")
        yield from pixels.iter_pixels(dataset, raw=True, indices=list(frames), decoding_plugin=plugin)


def decode_apart(jobs: Sequence[Job]) -> Iterator[Iterator[np.ndarray]]:
    """The same for several files, by one other process.

    Raises:
        RuntimeError: When that process ended early; what it said, if anything.
    """
    command = [sys.executable, "-m", "ulite_monai.io.dicom.decode"]
    paths = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write(json.dumps([(str(file), list(frames)) for file, frames in jobs]).encode())
            process.stdin.close()
            for _, frames in jobs:
                yield (_receive(process) for _ in frames)
        finally:
            process.kill()


def _plugin(syntax: str) -> str:
    """The decoder by its name in pydicom; "" leaves it to pydicom.

    GDCM comes last, and never as a second try: what another decoder refused as damaged may make it abort.
    """
    uid = require("pydicom.uid", "dicom").UID(syntax)
    if not uid.is_transfer_syntax or not uid.is_encapsulated:
        return ""
    available = require("pydicom.pixels", "dicom").get_decoder(uid).available_plugins
    return next((name for name in sorted(available, key=lambda name: name == "gdcm")), "")


def _by_pydicom_2(dataset: Any, frames: Sequence[int]) -> np.ndarray:
    """Uncompressed frames in MONAI Label's environment; old overlays may lie in the highest bits."""
    unused = dataset.BitsAllocated - dataset.BitsStored
    values = dataset.pixel_array << unused >> unused  # which also extends the sign
    return values.reshape(-1, *values.shape[-2:])[list(frames)]


def _complete_meta(dataset: Any) -> None:
    """A file without a preamble has no transfer syntax; how pydicom could read it says which it is."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        uid = require("pydicom.uid", "dicom")
        implicit, _ = encoding(dataset)
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


def _send(frame: np.ndarray, stream: BinaryIO) -> None:
    stream.write(json.dumps([frame.dtype.str, *frame.shape]).encode() + b"\n")
    stream.write(np.ascontiguousarray(frame).tobytes())


def _receive(process: subprocess.Popen[bytes]) -> np.ndarray:
    assert process.stdout is not None and process.stderr is not None
    head = process.stdout.readline()
    if not head:
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        code = process.wait()
        raise RuntimeError(said[-1] if said and code == 1 else f"the decoder aborted with code {code}")
    dtype, *shape = json.loads(head)
    values = process.stdout.read(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return np.frombuffer(values, dtype).reshape(shape)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for file, frames in json.loads(requests.read()):
        for frame in decode((Path(file), frames)):
            _send(frame, answers)
    answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
