"""The plan's rules: a fingerprint in, a choice out."""

import pytest
import torch

from ulite_monai.networks import ULite
from ulite_monai.planning.plan import GIVEN, Machine, make_plan

LAPTOP = Machine(cores=2, half=True, hours=1.0)


def like(shape, spacing=(1, 1, 1), extent=(20, 20, 20), cases=20, classes=("a",), **changes):
    """A fingerprint of equal cases, each with the classes' structures of one extent."""
    found = {"volume": 1.0, "extent": list(extent), "components": 1, "largest": list(extent)}
    case = {"id": "c", "spacing": list(spacing), "axes": "RAS", "shape": list(shape), "range": [[0.0, 900.0]]}
    case |= {"empty": 0.0, "filled": list(shape), "classes": dict.fromkeys(classes, found)}
    case |= {name: changes.pop(name) for name in ("range", "empty", "filled") if name in changes}
    intensities = [{"low": -100.0, "median": 50.0, "high": 300.0, "mean": 60.0, "sd": 40.0}]
    known = {"kind": "volumes" if len(shape) == 3 else "images", "channels": 1, "modality": None, "instances": False}
    return known | {"classes": list(classes), "intensities": intensities, "cases": [case] * cases} | changes


HIPPOCAMPUS = like((35, 50, 36), extent=(15, 20, 18), cases=208, classes=("Anterior", "Posterior"))
ATRIUM = like((576, 576, 88), (0.625, 0.625, 1.25), (100, 85, 65), cases=80)
THICK_CT = like((400, 400, 60), (0.8, 0.8, 5), (60, 60, 110), range=[[-1024.0, 1500.0]])
CLIPPED = {"a_min": -100.0, "a_max": 300.0, "b_min": -4.0, "b_max": 6.0, "clip": True}
GREY = like((256, 256), (1, 1), (60, 60), cases=526, channels=3)


def train(fingerprint, machine=LAPTOP, dims="auto", **given):
    return make_plan(fingerprint, machine, dims, given).values["train.json"]


def choice(fingerprint, what):
    (one,) = (one for one in make_plan(fingerprint, LAPTOP).choices if one.what == what)
    return one


def test_the_hippocampus_is_planned_as_it_is_shipped():
    plan = make_plan(HIPPOCAMPUS, LAPTOP)
    ids = plan.values["train.json"]
    assert ids["spacing"] == [1, 1, 1] and ids["patch_size"] == [40, 56, 40] and ids["batch_size"] == 2
    network = {name: ids["network_def"][name] for name in ("features", "strides", "stem_stride")}
    assert network == {"features": [32, 32, 64, 64, 128, 128, 256], "strides": [1, 2, 1, 2, 1, 2], "stem_stride": 2}
    assert "kernel_size" not in ids["network_def"]
    assert (ids["epochs"], ids["val_interval"], ids["patience"], ids["learning_rate"]) == (80, 1, 40, 0.006)
    assert ids["foreground_share"] == 0 and ids["grow_windows"] is True and ids["flip_axes"] == [0]
    assert 9 <= len(plan.lines()) <= 12


def test_a_large_structure_is_worked_on_coarser_so_that_a_patch_shows_it():
    ids = train(ATRIUM)
    assert len(set(ids["spacing"])) == 1 and 1.25 < ids["spacing"][0] < 1.75
    shown = [side * step for side, step in zip(ids["patch_size"], ids["spacing"], strict=True)]
    assert all(mm >= extent for mm, extent in zip(shown, (125, 106, 81), strict=True))
    assert ids["foreground_share"] == 0.5 and ids["roi_size"] == ids["patch_size"] and ids["grow_windows"] is False
    assert 3 <= ids["val_cases"] < 16 and 1 < ids["val_interval"] <= ids["epochs"] / 3


def test_few_cases_are_passed_over_several_times_an_epoch():
    ids = train(like((100, 100, 100), cases=6))
    assert ids["epochs"] == 100 and ids["steps_per_epoch"] > 10
    assert train(HIPPOCAMPUS)["steps_per_epoch"] is None


def test_more_hours_allow_a_finer_spacing_where_time_was_short():
    many = like((512, 512, 300), (0.8, 0.8, 1.0), cases=200)
    spacings = [train(many, Machine(2, True, hours))["spacing"][0] for hours in (0.5, 4, 1000)]
    assert spacings[0] > spacings[1] > spacings[2] == 0.8


def test_small_structures_stay_several_voxels_wide():
    assert max(train(like((512, 512, 300), (0.8, 0.8, 1.0), (8, 8, 8), cases=200))["spacing"]) == 1.0


def test_thick_slices_are_pooled_within_first_and_turned_within_only():
    ids = train(THICK_CT)
    assert 0.8 <= ids["spacing"][0] == ids["spacing"][1] < 1.1 and ids["spacing"][2] == 5
    network = ids["network_def"]
    assert network["stem_stride"] == [2, 2, 1] and network["strides"][1] == [2, 2, 1] and network["strides"][3] == 2
    assert [kernel[2] for kernel in network["kernel_size"]][:3] == [3, 3, 7] and network["kernel_size"][-1] == [7, 7, 7]
    assert ids["rotate_range"] == [0, 0, 0.4] and ids["scale_range"] == [0.25, 0.25, 0]
    assert ids["shear_range"] == [0.1, 0, 0.1, 0, 0, 0] and ids["margin"] == [1.5, 1.5, 1]


def test_slices_are_thick_along_whichever_axis():
    ids = train(like((25, 320, 320), (4, 0.6, 0.6), (40, 40, 40)))
    assert ids["network_def"]["stem_stride"] == [1, 2, 2] and ids["rotate_range"] == [0.4, 0, 0]
    assert ids["shear_range"] == [0, 0, 0, 0.1, 0, 0.1]


def test_the_thick_axis_takes_a_low_percentile():
    fingerprint = like((300, 300, 30), (1, 1, 5), cases=10)
    for case, step in zip(range(10), (3, 3, 5, 5, 5, 5, 5, 5, 5, 5), strict=True):
        fingerprint["cases"][case] = fingerprint["cases"][case] | {"spacing": [1, 1, step]}
    assert train(fingerprint)["spacing"] == [1, 1, 3]


@pytest.mark.parametrize(
    ("fingerprint", "step"),
    [
        (THICK_CT, CLIPPED),
        (THICK_CT | {"modality": "MR"}, {"channel_wise": True}),
        (HIPPOCAMPUS | {"modality": "CT"}, CLIPPED),
        (HIPPOCAMPUS, {"channel_wise": True}),
        (like((90, 90, 90), empty=0.6), {"channel_wise": True, "nonzero": True}),
        (like((90, 90, 90), empty=0.6, range=[[-3.0, 8.0]]), {"channel_wise": True}),
        (GREY, {}),
    ],
    ids=["Hounsfield", "declared MR", "declared CT", "MR", "empty background", "background isn't 0", "image"],
)  # fmt: skip
def test_intensities(fingerprint, step):
    found = train(fingerprint)["normalization"]
    assert {name: value for name, value in found.items() if name not in ("_target_", "keys")} == step
    assert found["_target_"] == ("ScaleIntensityRanged" if "clip" in step else "NormalizeIntensityd")


@pytest.mark.parametrize(("filled", "crop"), [((80, 80, 80), True), ((95, 100, 98), False)])
def test_empty_borders_are_cut_off_where_they_are_large(filled, crop):
    assert train(like((100, 100, 100), filled=list(filled)))["skip_empty"] is crop


@pytest.mark.parametrize(("names", "axes"), [(("kidney",), [0]), (("left kidney", "right kidney"), [])])
def test_no_flips_where_names_have_sides(names, axes):
    assert train(like((100, 100, 100), classes=names))["flip_axes"] == axes


def test_images_get_the_papers_network():
    plan = make_plan(GREY, LAPTOP)
    ids = plan.values["train.json"]
    assert plan.kind == "images" and ids["patch_size"] == [256, 256] and ids["batch_size"] == 4
    assert ids["network_def"].keys() == {"_target_", "spatial_dims", "in_channels", "out_channels"}
    assert ids["loss"]["batch"] is True and "loss" not in train(HIPPOCAMPUS)
    assert "spacing" not in ids and ids["flip_axes"] == [0, 1] and "flip_axes" not in plan.values["inference.json"]


def test_small_images_get_fewer_levels():
    ids = train(like((60, 60), (1, 1), (20, 20)))
    assert ids["patch_size"] == [64, 64] and ids["network_def"]["features"] == [16, 32, 64, 128]


@pytest.mark.parametrize(
    ("fingerprint", "dims"), [(like((200, 160, 1), (1, 1, 5)), "auto"), (THICK_CT, "2")], ids=["one slice", "asked for"]
)
def test_volumes_slice_by_slice(fingerprint, dims):
    ids = train(fingerprint, dims=dims)
    assert ids["patch_size"][2] == 1 == ids["roi_size"][2] and ids["grow_windows"] is False
    assert ids["network_def"]["stem_stride"] == [2, 2, 1] and ids["rotate_range"] == [0, 0, 0.4]


def test_what_is_given_is_kept_and_the_rest_follows_it():
    ids = train(ATRIUM, spacing=[2.0, 2.0, 2.0])
    assert ids["spacing"] == [2, 2, 2] and ids["patch_size"] != train(ATRIUM)["patch_size"]
    plan = make_plan(ATRIUM, LAPTOP, given={"patch_size": [32, 32, 32]})
    assert [one.what for one in plan.choices if one.source == GIVEN] == ["patches"]
    assert plan.values["train.json"]["network_def"]["strides"] == [1, 2, 1, 2]


@pytest.mark.parametrize("fingerprint", [HIPPOCAMPUS, ATRIUM, THICK_CT, GREY], ids=["small", "large", "thick", "2D"])
def test_the_network_takes_its_patch(fingerprint):
    ids = train(fingerprint)
    arguments = {name: value for name, value in ids["network_def"].items() if not name.endswith(("_", "channels"))}
    network = ULite(in_channels=1, out_channels=2, **arguments).eval()
    patch = torch.zeros(1, 1, *(min(side, 64) for side in ids["patch_size"]))
    assert network(patch).shape[2:] == patch.shape[2:]
    assert sum(parameter.numel() for parameter in network.parameters()) < 1.2e6
