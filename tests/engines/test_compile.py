"""Both engines give the network's logits, whatever the size, the cache's state and the network."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, SwinUNETR
from torch import nn

from tests.conftest import environment
from ulite_monai.engines import compile as engines
from ulite_monai.engines.compile import choose_engine, compile_network
from ulite_monai.engines.memory import UNKNOWN_NETWORK
from ulite_monai.errors import InputError
from ulite_monai.networks import Ensemble, ULite
from ulite_monai.networks.ensemble import members_of

openvino = pytest.importorskip("openvino")
from ulite_monai.engines import openvino_cache, openvino_convert, openvino_engine  # noqa: E402


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ULITE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def small_network(dims: int = 3) -> ULite:
    torch.manual_seed(0)
    network = ULite(dims, 1, 2, features=(4, 8, 16))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def difference(network: nn.Module, compiled: nn.Module, *shape: int) -> float:
    x = torch.randn(*shape)
    with torch.no_grad():
        return (compiled(x) - network(x)).abs().max().item()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("dims", [2, 3])
def test_same_logits_for_any_batch_and_size(engine: str, dims: int) -> None:
    network = small_network(dims)
    compiled = compile_network(network, "cpu", engine)
    for sizes in ((16, 16, 16), (9, 21, 14), (1, 2, 1)):
        for batch in (1, 3):
            assert difference(network, compiled, batch, 1, *sizes[:dims]) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_ensemble_is_fused_as_its_members_are(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    members = [small_network(), small_network()]
    torch.nn.init.normal_(members[1].head.bias)
    for ensemble in (Ensemble(members).eval(), Ensemble([Ensemble(members), members[1]]).eval()):
        compiled = compile_network(ensemble, "cpu", engine)
        for size in ((16, 12, 10), (9, 21, 14)):
            assert difference(ensemble, compiled, 2, 1, *size) <= 1e-4
        assert (compiled.engine, compiled.precision) == (engine, "float32")
        assert "fused U-Lite" in caplog.text
        one = compile_network(members[0], "cpu", engine).bytes_per_voxel
        assert compiled.bytes_per_voxel == math.ceil(one + (len(members_of(ensemble)) - 1) * one / 2)
        getattr(compiled, "release_memory", lambda: None)()
        assert difference(ensemble, compiled, 1, 1, 16, 12, 10) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_ensemble_of_other_networks_runs(engine: str) -> None:
    ensemble = Ensemble([BasicUNet(2, 1, 2, features=(4, 4, 4, 4, 4, 4)) for _ in range(2)]).eval()
    compiled = compile_network(ensemble, "cpu", engine)
    assert difference(ensemble, compiled, 1, 1, 32, 48) <= 1e-4
    assert compiled.bytes_per_voxel == 1.5 * UNKNOWN_NETWORK


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["INSTANCE", ("BATCH", {"track_running_stats": False}), ("GROUP", {"num_groups": 4})])
@pytest.mark.parametrize("dims", [2, 3])
def test_norms_of_the_image_itself(dims: int, norm: str | tuple) -> None:
    """They need two voxels at the bottom, where a small image of the conversion would leave one."""
    torch.manual_seed(0)
    network = ULite(dims, 1, 2, features=(8, 16, 32, 64, 128), strides=[2, 2, 4, [1, 2, 2][:dims]], norm=norm).eval()
    compiled = compile_network(network, "cpu", "openvino")
    assert compiled.engine == "openvino" and compiled.precision == "float32"
    assert difference(network, compiled, 1, 1, *(70, 65, 66)[:dims]) <= 1e-3


def test_auto_falls_back_to_pytorch_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("Exception from src/core/node.cpp:12:\nCheck 'a' failed at src/x.cpp:3:\nno such operation")

    monkeypatch.setattr(openvino_engine, "cached_model", fail)
    network = small_network()
    compiled = compile_network(network, "cpu")
    assert compiled.engine == "torch" and difference(network, compiled, 1, 1, 9, 8, 7) <= 1e-4
    assert "OpenVINO can't run this network (RuntimeError: no such operation)" in caplog.text
    with pytest.raises(RuntimeError):
        compile_network(network, "cpu", "openvino")


def test_the_precision_is_what_it_says_whatever_surrounds_the_call() -> None:
    network = small_network()
    x = torch.randn(1, 1, 16, 16, 16)
    for precision in ("float32", "auto"):
        compiled = compile_network(network, "cpu", "torch", precision)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = compiled(x)
        with torch.no_grad():
            assert torch.equal(logits, compiled(x)) and compiled.precision == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_batch_is_computed_image_by_image_and_keeps_its_order(engine: str) -> None:
    network = small_network(2)
    compiled = compile_network(network, "cpu", engine, threads=2 if engine == "openvino" else None)
    for batch in (1, 2, 7, 1, 3):
        assert difference(network, compiled, batch, 1, 17, 16) <= 1e-4
    if engine == "openvino":
        assert set(compiled._compiled) == {(False, None), (True, None)}
        compiled.release_memory()
        assert difference(network, compiled, 3, 1, 9, 8) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_norm_over_the_batch_gets_the_whole_batch(engine: str) -> None:
    torch.manual_seed(0)
    network = ULite(2, 1, 2, features=(4, 8, 16), norm=("BATCH", {"track_running_stats": False})).eval()
    assert difference(network, compile_network(network, "cpu", engine), 3, 1, 17, 16) <= 1e-3


@pytest.mark.slow
def test_the_logits_of_a_call_outlive_the_next_call() -> None:
    compiled = compile_network(small_network(), "cpu", "openvino")
    first = compiled(torch.zeros(1, 1, 8, 8, 8))
    kept = first.clone()
    compiled(torch.ones(1, 1, 8, 8, 8))
    assert torch.equal(first, kept)


@pytest.mark.slow
def test_float32_is_float32_and_bfloat16_is_not() -> None:
    network = small_network()
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 16, 16, 16) < 1e-5
    if openvino_engine.computes_in_bfloat16():
        rough = compile_network(network, "cpu", "openvino", precision="bfloat16")
        assert 1e-5 < difference(network, rough, 1, 1, 16, 16, 16) < 0.1


@pytest.mark.slow
def test_another_network_is_converted_for_each_shape() -> None:
    network = BasicUNet(3, 1, 2, features=(4, 4, 8, 8, 16, 4)).eval()
    compiled = compile_network(network, "cpu", "openvino")
    for sizes in ((32, 32, 32), (35, 33, 37)):  # its trace for one of these is wrong for the other
        assert difference(network, compiled, 1, 1, *sizes) <= 1e-4


@pytest.mark.slow
def test_a_network_whose_trace_openvino_misreads_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("einops")
    exported = []
    export = openvino_convert._export
    monkeypatch.setattr(openvino_convert, "_export", lambda *args: exported.append(1) or export(*args))
    torch.manual_seed(0)
    network = SwinUNETR(1, 2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), spatial_dims=2).eval()
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 64, 64) <= 1e-4
    assert exported


def test_a_wrong_conversion_is_refused() -> None:
    # OpenVINO 2026.4 computes the GELU before the pooling. Where it learns better, the logits must be right.
    network = nn.Sequential(nn.Conv2d(1, 16, 1), nn.MaxPool2d(2), nn.GELU()).eval()
    compiled = compile_network(network, "cpu", "openvino")
    try:
        assert difference(network, compiled, 1, 1, 16, 16) <= 1e-4
    except RuntimeError as error:
        assert "differ from PyTorch's" in str(error)


@pytest.mark.slow
def test_the_check_of_a_conversion_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_convert, "ALLOWED_OF_FUSED", -1.0)
    with pytest.raises(RuntimeError, match="use engine 'torch'"):
        compile_network(small_network(), "cpu", "openvino")


@pytest.mark.slow
def test_the_second_process_converts_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    compile_network(network, "cpu", "openvino")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(openvino_engine, "convert_fused", None)
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 9, 8, 7) <= 1e-4


@pytest.mark.slow
def test_other_weights_and_other_options_have_their_own_entries(cache: Path) -> None:
    network = small_network()
    compile_network(network, "cpu", "openvino")
    with torch.no_grad():
        network.head.bias += 1
    compile_network(network, "cpu", "openvino")
    other_strides = ULite(3, 1, 2, features=(4, 8, 16), strides=[(1, 2, 2), 2]).eval()
    other_strides.load_state_dict(network.state_dict())
    compiled = compile_network(other_strides, "cpu", "openvino")
    assert difference(other_strides, compiled, 1, 1, 9, 8, 7) <= 1e-4
    assert len(list(cache.iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "foreign", "unreadable"])
def test_a_damaged_entry_is_made_anew(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = small_network()
    compile_network(network, "cpu", "openvino")
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) - 2000  # among the weights, which OpenVINO reads without a check
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 100]) + whole[middle + 100 :]
    entry.write_bytes(
        {"cut": whole[:-9], "emptied": b"", "flipped": flipped, "foreign": b"<xml>" * 99}.get(damage, b"")
    )
    if damage == "unreadable":  # with a checksum that fits: as a version of OpenVINO with the same number left it
        (fingerprint, rest) = (entry.stem, (5).to_bytes(8, "little") + b"<xml>")
        entry.write_bytes(openvino_cache._checksum(fingerprint, rest) + rest)
    compiled = compile_network(network, "cpu", "openvino")
    assert difference(network, compiled, 1, 1, 9, 8, 7) <= 1e-4
    assert f"{entry} can't be used" in caplog.text and "made anew" in caplog.text
    caplog.clear()
    monkeypatch.setattr(openvino_engine, "convert_fused", None)  # from now on it is read
    compile_network(network, "cpu", "openvino")
    assert "made anew" not in caplog.text


@pytest.mark.slow
def test_an_entry_of_another_network_is_made_anew(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    network, other = small_network(), small_network()
    torch.nn.init.normal_(other.head.bias)
    compile_network(other, "cpu", "openvino")
    (theirs,) = cache.iterdir()
    compile_network(network, "cpu", "openvino")
    (ours,) = set(cache.iterdir()) - {theirs}
    theirs.replace(ours)
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 9, 8, 7) <= 1e-4
    assert f"{ours} can't be used (ValueError: its checksum doesn't fit) and is made anew" in caplog.text


@pytest.mark.slow
def test_the_cache_keeps_what_was_used_last_within_its_size(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [small_network() for _ in range(3)]
    entries = []
    for number, network in enumerate(networks):
        torch.nn.init.constant_(network.head.bias, number)
        compile_network(network, "cpu", "openvino")
        entries += set(cache.iterdir()) - set(entries)
        os.utime(entries[-1], (number, number))
    left = cache / f"{openvino_cache.PARTIAL}of a killed process"
    left.mkdir()
    os.utime(left, (0, 0))
    compile_network(networks[0], "cpu", "openvino")  # used again, so the second is the oldest
    monkeypatch.setattr(openvino_cache, "LARGEST_CACHE", int(3.5 * entries[0].stat().st_size))
    torch.nn.init.constant_(networks[1].head.bias, 9)
    compile_network(networks[1], "cpu", "openvino")
    assert entries[0].exists() and not entries[1].exists() and entries[2].exists() and not left.exists()
    assert len(list(cache.iterdir())) == 3


@pytest.mark.slow
def test_the_cache_is_the_users_alone(cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    compile_network(small_network(), "cpu", "openvino")
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_without_a_cache_only_the_cache_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ULITE_CACHE_DIR", str(tmp_path / "file"))
    network = small_network()
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 8, 8, 8) <= 1e-4
    assert "the model is converted anew each time" in caplog.text


def test_the_cache_folder_follows_the_users_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert openvino_cache.cache_folder() == Path(os.environ["ULITE_CACHE_DIR"]) / "openvino"
    monkeypatch.delenv("ULITE_CACHE_DIR")
    assert openvino_cache.cache_folder().parts[-2:] == ("ulite_monai", "openvino")


def test_auto_is_openvino_on_a_cpu_and_torch_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine("cpu") == "openvino"
    assert choose_engine("cuda") == choose_engine("mps") == "torch"
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    assert choose_engine("cpu") == "torch"
    with pytest.raises(InputError, match="pip install openvino"):
        choose_engine("cpu", "openvino")


def test_the_log_says_which_engine(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    compile_network(small_network(), "cpu", "torch")
    assert "engine: torch, float32, on cpu (fused U-Lite)" in caplog.text


@pytest.mark.slow
def test_threads_are_those_asked_for() -> None:
    compiled = compile_network(small_network(), "cpu", "openvino", threads=1)
    assert [model.threads for model in compiled._compiled.values()] == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "tensorrt"}, "engine must be one of auto, torch, openvino, got 'tensorrt'"),
        ({"precision": "int8"}, "precision must be one of auto, float32, bfloat16, float16, got 'int8'"),
        ({"precision": "float16"}, "'float16' is for GPUs"),
        ({"device": "cuda", "engine": "openvino"}, "computes on the CPU, not on cuda"),
        ({"threads": 0}, "threads must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compile_network(small_network(), **{"device": "cpu", **arguments})


@pytest.mark.slow
def test_memory_does_not_grow_with_every_new_shape() -> None:
    """The 300 new shapes would take 290 MiB, did OpenVINO keep 5,000 operations, each at a shape, as by default."""
    done = subprocess.run([sys.executable, "-c", GROWTH], env=environment(), capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late - early <= 64 * 2**20


GROWTH = """
import itertools
import psutil, torch
from ulite_monai.networks import ULite
from ulite_monai.engines.compile import compile_network

compiled = compile_network(ULite(2, 1, 2, features=(8, 16, 32, 64, 128)), "cpu", "openvino", threads=1)
for number, (height, width) in enumerate(itertools.product(range(16, 36), range(16, 36)), start=1):
    compiled(torch.zeros(1, 1, height, width))
    if number in (100, 400):
        print(psutil.Process().memory_info().rss)
"""


def test_pytorch_on_one_thread_has_no_slow_way_left_for_kernels() -> None:
    """Its own convolutions took 24 times as long for a kernel along the first of three axes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for dims, size in ((2, 128), (3, 40)):
            network = compile_network(ULite(dims, 1, 2, features=(16, 32, 64)).eval(), "cpu", "torch")
            with torch.autograd.profiler.profile() as profile:
                network(torch.zeros(1, 1, *[size] * dims))
            names = {event.name for event in profile.function_events}
            # What is left to it are pointwise convolutions of small features.
            slow = {name for name in names if "slow" in name and "dilated" not in name}
            assert "aten::mkldnn_convolution" in names and not slow
    finally:
        torch.set_num_threads(threads)


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: False)
    with pytest.raises(InputError, match="this CPU doesn't compute in it"):
        compile_network(small_network(), "cpu", "openvino", precision="bfloat16")


def test_the_torch_engine_in_bfloat16_gives_float32_logits() -> None:
    network = small_network()
    compiled = compile_network(network, "cpu", "torch", precision="bfloat16")
    assert compiled(torch.zeros(1, 1, 8, 8, 8)).dtype == torch.float32
    assert 1e-6 < difference(network, compiled, 1, 1, 16, 16, 16) < 0.1
