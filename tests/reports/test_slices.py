"""Outlines and slices for web pages, by shapes placed by hand on turned and thick grids."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image

from ulite_monai.reports.slices import MOST_PIXELS, MOST_SLICES, outline, slice_stack


def points(path):
    """The corners of each closed line of a path."""
    lines = []
    for line in path.split("z")[:-1]:
        start, steps = re.fullmatch(r"M(-?\d+ -?\d+)l(.*)", line).groups()
        moves = np.array(steps.split(), int).reshape(-1, 2)
        lines.append(np.vstack([[0, 0], np.cumsum(moves, axis=0)]) + np.array(start.split(), int))
    return lines


def picture(uri):
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_an_outline_runs_halfway_between_inside_and_outside():
    mask = np.zeros((6, 9), bool)
    mask[2:4, 3:8] = True
    mask[5, 0] = True  # at the edges
    lines = points(outline(mask))
    assert all((line[0] == line[-1]).all() for line in lines) and len(lines) == 2
    edges = sorted((*line.min(axis=0).tolist(), *line.max(axis=0).tolist()) for line in lines)
    assert edges == [(0, 10, 2, 12), (6, 4, 16, 8)]  # in half pixels: left, top, right, bottom
    assert outline(np.zeros((3, 3), bool)) == ""


def volume(codes="RAS", spacing=(1.0, 1.0, 1.0)):
    """An image whose intensity counts the slices upwards, a mask, a reference, on a grid that runs along `codes`."""
    shape = (30, 34, 20)
    image = np.broadcast_to(np.arange(20.0), shape).copy()
    mask, reference = np.zeros((2, *shape), np.uint8)
    mask[10:16, 12:20, 6:10] = 1
    reference[10:16, 12:20, 6:9] = 1
    reference[12:14, 14:16, 12] = 2
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    affine = np.diag([*spacing, 1.0]) @ inv_ornt_aff(turn, shape)
    return *(apply_orientation(array, turn) for array in (image, mask, reference)), affine


@pytest.mark.parametrize(("codes", "axis", "index"), [("RAS", "k", 9), ("LPI", "k", 20 - 1 - 9), ("SRA", "i", 9)])
def test_slices_are_axial_radiological_and_named_by_the_inputs_own_index(codes, axis, index):
    stack = slice_stack(*volume(codes))
    assert (stack["plane"], stack["letters"], stack["start"]) == ("axial", ["R", "L", "A", "P"], 4)
    names = [one["name"] for one in stack["slices"]]
    assert len(names) == 9 and stack["slices"][4]["name"] == f"{axis} = {index}"  # from above: one before, one after
    held = [{(one["of"], one["value"]) for one in each["outlines"]} for each in stack["slices"]]
    both = {("mask", 1), ("reference", 1)}
    assert held == [set(), {("reference", 2)}, set(), set(), {("mask", 1)}, both, both, both, set()]
    line = points(stack["slices"][4]["outlines"][0]["path"])[0]
    assert np.ptp(line, axis=0).tolist() == [12, 16] and stack["aspect"] == stack["size"][0] / stack["size"][1]
    greys = [int(picture(one["image"]).mean().round()) for one in stack["slices"]]
    assert greys == sorted(greys, reverse=True) and greys[0] > greys[-1] + 50


def test_thick_slices_are_shown_as_they_were_cut():
    stack = slice_stack(*volume("RAS", (4.0, 1.0, 1.0)))
    assert (stack["plane"], stack["letters"]) == ("sagittal", ["A", "P", "S", "I"])
    assert [one["name"] for one in stack["slices"]][:2] == ["i = 16", "i = 15"]
    columns, rows = slice_stack(*volume("RAS", (1.0, 1.0, 5.0)))["size"]
    assert slice_stack(*volume("RAS", (2.0, 1.0, 5.0)))["plane"] == "axial" and columns < 30 and rows < 34


def test_many_and_large_slices_stay_few_and_small():
    image = np.random.default_rng(0).normal(size=(600, 500, 60))
    mask, reference = np.zeros((2, *image.shape), np.uint8)
    mask[50:550, 50:450, 5:55] = 1
    reference[:] = mask
    reference[100:200, 100:200, 17] = 0
    stack = slice_stack(image, mask, reference, np.eye(4))
    assert MOST_SLICES <= len(stack["slices"]) <= MOST_SLICES + 1
    assert stack["slices"][stack["start"]]["name"] == "k = 17"
    assert max(picture(stack["slices"][0]["image"]).shape) == MOST_PIXELS and stack["size"] == [600, 500]


def test_an_image_has_one_slice_and_nothing_to_show_has_no_picture():
    colours = np.zeros((40, 30, 3), np.uint8)
    colours[:20, :, 0] = 255
    mask = np.zeros((40, 30), np.uint8)
    mask[2:35, 10:20] = 1
    small = (mask > 0) & (np.arange(40) < 12)[:, None]
    assert slice_stack(colours, small * 1, small * 1, None)["size"] == [2 + 10 + 10, 30]  # margins as long as it is
    stack = slice_stack(colours, mask, mask, None)
    assert (stack["size"], stack["aspect"], len(stack["slices"]), stack["letters"]) == ([40, 30], 4 / 3, 1, [])
    shown = picture(stack["slices"][0]["image"])
    assert shown.shape == (30, 40, 3) and shown[0, 0].tolist() == [255, 0, 0] and shown[0, 39].tolist() == [0, 0, 0]
    assert slice_stack(None, mask, mask, None)["slices"][0]["image"] is None
    empty = np.zeros((8, 8, 8), np.uint8)
    assert len(slice_stack(empty * 1.0, empty, empty, np.eye(4))["slices"]) == 8
