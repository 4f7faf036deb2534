"""Both engines give the network's logits, whatever the size, the cache's state and the network."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, SwinUNETR
from torch import nn

from ulite_monai.errors import InputError
from ulite_monai.networks import Ensemble, ULite
from ulite_monai.networks.ensemble import members_of
from ulite_monai.runtime import engines
from ulite_monai.runtime.engines import choose_engine, compile_network
from ulite_monai.runtime.memory import UNKNOWN_NETWORK

openvino = pytest.importorskip("openvino")
from ulite_monai.runtime import openvino_cache, openvino_convert, openvino_engine  # noqa: E402


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


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("dims", [2, 3])
def test_same_logits_for_any_batch_and_size(engine: str, dims: int) -> None:
    network = small_network(dims)
    compiled = compile_network(network, "cpu", engine)
    for sizes in ((16, 16, 16), (9, 21, 14), (1, 2, 1)):
        for batch in (1, 3):
            assert difference(network, compiled, batch, 1, *sizes[:dims]) <= 1e-4


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
        assert compiled.voxels_at_once is not None  # as of U-Lite alone
        assert "fused U-Lite" in caplog.text
        one = compile_network(members[0], "cpu", engine).bytes_per_voxel
        assert compiled.bytes_per_voxel == math.ceil(one + (len(members_of(ensemble)) - 1) * one / 2)
        getattr(compiled, "release_memory", lambda: None)()
        assert difference(ensemble, compiled, 1, 1, 16, 12, 10) <= 1e-4


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_ensemble_of_other_networks_runs(engine: str) -> None:
    ensemble = Ensemble([BasicUNet(2, 1, 2, features=(4, 4, 4, 4, 4, 4)) for _ in range(2)]).eval()
    compiled = compile_network(ensemble, "cpu", engine)
    assert difference(ensemble, compiled, 1, 1, 32, 48) <= 1e-4
    assert compiled.bytes_per_voxel == 1.5 * UNKNOWN_NETWORK


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


def test_a_shape_that_keeps_coming_gets_its_own_model_and_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "CALLS_BEFORE_A_MODEL_OF_ITS_OWN", 2)
    network = small_network()
    compiled = compile_network(network, "cpu", "openvino", threads=1)
    shapes = [(1, 1, 9, 8, 7)] * 3 + [(2, 1, 8, 8, 8)] + [(1, 1, 9, 8, 7)] + [(2, 1, 6, 6, 6)] * 3 + [(1, 1, 9, 8, 7)]
    assert max(difference(network, compiled, *shape) for shape in shapes) <= 1e-4
    assert compiled._requests.own_shape == (2, 1, 6, 6, 6)


def test_the_logits_of_a_call_outlive_the_next_call() -> None:
    compiled = compile_network(small_network(), "cpu", "openvino")
    first = compiled(torch.zeros(1, 1, 8, 8, 8))
    kept = first.clone()
    compiled(torch.ones(1, 1, 8, 8, 8))
    assert torch.equal(first, kept)


def test_float32_is_float32_and_bfloat16_is_not() -> None:
    network = small_network()
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 16, 16, 16) < 1e-5
    if openvino_engine.computes_in_bfloat16():
        rough = compile_network(network, "cpu", "openvino", precision="bfloat16")
        assert 1e-5 < difference(network, rough, 1, 1, 16, 16, 16) < 0.1


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


def test_the_check_of_a_conversion_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_convert, "ALLOWED_OF_FUSED", -1.0)
    with pytest.raises(RuntimeError, match="use engine 'torch'"):
        compile_network(small_network(), "cpu", "openvino")


def test_the_second_process_converts_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    compile_network(network, "cpu", "openvino")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(openvino_engine, "convert_fused", None)
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 9, 8, 7) <= 1e-4


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


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "foreign"])
def test_a_damaged_entry_is_made_anew(damage: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = small_network()
    compile_network(network, "cpu", "openvino")
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) - 2000  # among the weights, which OpenVINO reads without a check
    flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 100]) + whole[middle + 100 :]
    entry.write_bytes({"cut": whole[:-9], "emptied": b"", "flipped": flipped, "foreign": b"<xml>" * 99}[damage])
    compiled = compile_network(network, "cpu", "openvino")
    assert difference(network, compiled, 1, 1, 9, 8, 7) <= 1e-4
    assert "damaged" in caplog.text
    assert len(entry.read_bytes()) > 1000


def test_without_a_writable_cache_only_the_cache_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ULITE_CACHE_DIR", str(tmp_path / "file"))
    network = small_network()
    assert difference(network, compile_network(network, "cpu", "openvino"), 1, 1, 8, 8, 8) <= 1e-4
    assert "can't be written" in caplog.text


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


def test_threads_are_those_asked_for() -> None:
    compiled = compile_network(small_network(), "cpu", "openvino", threads=1)
    assert compiled._requests.any_shape.threads == compiled.threads == 1


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


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: False)
    with pytest.raises(InputError, match="this CPU doesn't compute in it"):
        compile_network(small_network(), "cpu", "openvino", precision="bfloat16")


def test_the_torch_engine_in_bfloat16_gives_float32_logits() -> None:
    network = small_network()
    compiled = compile_network(network, "cpu", "torch", precision="bfloat16")
    assert compiled(torch.zeros(1, 1, 8, 8, 8)).dtype == torch.float32
    assert 1e-6 < difference(network, compiled, 1, 1, 16, 16, 16) < 0.1
