"""Images of heads that nobody scanned, made from label maps: any contrast, pose, field of view and quality."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable

__all__ = ["SynthesizeFromLabelsd"]

FINE = 2  # samples of a label map along each edge of a voxel, whose mean is what a scanner sees
THINNED = 4  # voxels of a map between those looked at for its extent
VALUES = 600  # above the largest value of a label map
BASE = 16  # above the samples of a voxel
BRAIN_FLUID = 24
BEYOND_THE_BRAIN = 500

# The values of FreeSurfer, and from 500 on those of the tissues around the brain, that share an intensity.
TISSUES: dict[str, tuple[int, ...]] = {
    "air": (0,),
    "white matter": (2, 41),
    "cortex": (3, 42),
    "fluid": (4, 5, 14, 15, 24, 43, 44, 72),
    "cerebellar white matter": (7, 46),
    "cerebellar cortex": (8, 47),
    "thalamus": (10, 49),
    "caudate": (11, 26, 50, 58),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "brain stem": (16, 28, 60, 512),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "lesion": (25, 57),
    "small vessels": (30, 62),
    "optic nerve": (85, 530),
    "choroid plexus": (136, 137, 163, 164),
    "arteries": (502,),
    "veins": (514,),
    "eyes": (506,),
    "soft tissue": (507,),
    "muscle": (508,),
    "mucosa": (509,),
    "skin": (511,),
    "cortical bone": (515,),
    "marrow": (516,),
}
NUMBERS = {name: number for number, name in enumerate(TISSUES)}

# How T1 weighting orders them: 0 is the fluid, 1 the cortex, 2 the white matter.
T1_ORDER: dict[str, tuple[float, float]] = {
    "fluid": (0.0, 0.0),
    "cortex": (1.0, 1.0),
    "white matter": (2.0, 2.0),
    "cerebellar white matter": (1.8, 2.1),
    "cerebellar cortex": (0.8, 1.2),
    "thalamus": (1.1, 1.6),
    "caudate": (0.9, 1.3),
    "putamen": (1.0, 1.4),
    "pallidum": (1.4, 2.0),
    "brain stem": (1.6, 2.1),
    "hippocampus": (0.9, 1.2),
    "amygdala": (0.9, 1.2),
    "lesion": (0.2, 1.6),
    "small vessels": (0.0, 1.0),
    "optic nerve": (0.6, 1.8),
    "choroid plexus": (0.0, 1.0),
    "arteries": (0.0, 2.6),
    "veins": (0.0, 2.6),
    "eyes": (-0.1, 0.4),
    "soft tissue": (0.4, 2.4),
    "muscle": (0.4, 1.4),
    "mucosa": (0.2, 1.8),
    "skin": (0.6, 3.0),
    "cortical bone": (-0.3, 0.3),
    "marrow": (0.3, 2.8),
}


class SynthesizeFromLabelsd(Randomizable, MapTransform):
    """A synthetic image of a head, and its classes, from a label map.

    The way is SynthSeg's (Billot et al., Medical Image Analysis 86:102789, 2023; own code): the map is deformed, each
    tissue gets a random intensity, and the image is degraded by what degrades scans. Half of the images are ordered as
    in T1 weighting, the others in any way. Some heads lack what lies outside of the brain, or a part of face and neck;
    some have lesions; the field of view may be cut down to the temporal lobes. A few images show no head at all.

    An undeformed head lies where its map lies, and the image's affine says so. A mirrored head has its sides
    exchanged: what lies at the smaller x is the left side, always.

    Args:
        keys: label map `(1, i, j, k)` with FreeSurfer's values, in RAS order; replaced by the classes of the image.
        class_key: the classes of the map's voxels, 0 for the background; removed.
        image_key: entry for the image.
        spacing: mm of the image's cubic voxels.
        size: voxels along each axis of the image, at most.
        exchanged: the two classes that a mirrored head exchanges.
        seed_key: an entry that, where it is, seeds this one image whatever the transform's own state is.
        t1_share: share of images with the order of T1 weighting, in [0, 1].
        empty_share: share of images without a head, in [0, 1].
        deform: scales rotation, scaling, shearing and warping; 0 leaves the head as it is, and unmirrored.
    """

    def __init__(
        self,
        keys: KeysCollection,
        class_key: str = "classes",
        image_key: str = "image",
        spacing: float = 4.0,
        size: Sequence[int] = (64, 64, 64),
        exchanged: tuple[int, int] = (1, 2),
        seed_key: str = "seed",
        t1_share: float = 0.5,
        empty_share: float = 0.08,
        deform: float = 1.0,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.class_key = class_key
        self.image_key = image_key
        self.spacing = spacing
        self.size = tuple(size)
        self.exchanged = exchanged
        self.seed_key = seed_key
        self.t1_share = t1_share
        self.empty_share = empty_share
        self.deform = deform

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """Adds a MetaTensor, float32, shape `(1, x, y, z)`, and replaces the label by one of the same place."""
        made = dict(data)
        rng = np.random.RandomState(made[self.seed_key]) if self.seed_key in made else self.R
        (key,) = self.keys
        labels, classes = made[key], made.pop(self.class_key)
        head = _Head(
            labels.as_subclass(torch.Tensor)[0], classes.as_subclass(torch.Tensor)[0], labels.affine.double().numpy()
        )
        image, found, affine = self._synthesize(head, rng)
        made[self.image_key] = MetaTensor(image[None], affine=affine)
        made[key] = MetaTensor(found[None].float(), affine=affine)
        return made

    def _synthesize(self, head: _Head, rng: np.random.RandomState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
        origin, shape = _field_of_view(head, self.spacing, self.size, rng)
        affine = torch.eye(4, dtype=torch.float64) * self.spacing
        affine[:3, 3], affine[3, 3] = torch.from_numpy(origin), 1
        fine = [FINE * n for n in shape]
        if rng.rand() < self.empty_share:
            labels, classes = _no_head(fine, rng, generator), torch.zeros(fine, dtype=torch.uint8)
        else:
            mirrored = self.deform > 0 and rng.rand() < 0.5
            index = self._source_voxels(head, origin, shape, mirrored, rng, generator)
            labels, classes = (
                values.reshape(-1).index_select(0, index).reshape(fine) for values in (head.labels, head.classes)
            )
            if mirrored:
                classes = _exchange(classes, *self.exchanged)
            _remove_parts(labels, classes, rng)
        image = _contrast(labels, self._intensities(rng), rng, generator)
        found = _majority(classes, 1 + max(int(head.classes.max()), *self.exchanged))
        _add_lesions(image, found, self.spacing, rng)
        return _degrade(image, rng, generator), found, affine

    def _source_voxels(
        self,
        head: _Head,
        origin: np.ndarray,
        shape: Sequence[int],
        mirrored: bool,
        rng: np.random.RandomState,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """The flat index into the label map of each sample of the image, on the map's border where it lies beyond."""
        step = self.spacing / FINE
        start = origin - step * (FINE - 1) / 2
        turn = _random_linear(rng, self.deform)
        if mirrored:
            turn = np.diag([-1.0, 1.0, 1.0]) @ turn
        to_voxel = np.linalg.inv(head.affine)
        matrix = to_voxel[:3, :3] @ turn
        # voxel = to_voxel(centre + turn (start + step * i - centre) + warp)
        offset = to_voxel[:3, :3] @ (head.centre + turn @ (start - head.centre)) + to_voxel[:3, 3]
        cells = rng.randint(3, 9)
        strength = self.deform * rng.uniform(0, 4)  # mm, the deviation at the nodes
        nodes = torch.randn(1, 3, cells, cells, cells, generator=generator) * strength
        nodes = torch.einsum("ij,bj...->bi...", torch.from_numpy(to_voxel[:3, :3]).float(), nodes)
        warp = F.interpolate(nodes, size=list(shape), mode="trilinear", align_corners=True)[0]
        offset = offset + 0.5  # so that cutting off the digits rounds
        samples = torch.arange(FINE * max(shape), dtype=torch.float32).reshape(-1, FINE)  # of each voxel of the image
        index = torch.zeros((), dtype=torch.int32)
        for axis, size in enumerate(head.labels.shape):
            x, y, z = (float(matrix[axis, other]) * step * samples[: shape[other]] for other in range(3))
            plane = x[:, :, None, None] + (y + float(offset[axis]))
            place = (plane[..., None, None] + z).add_(warp[axis][:, None, :, None, :, None]).clamp_(0, size - 0.5)
            index = place.to(torch.int32).add_(index, alpha=size)
        return index.reshape(-1)

    def _intensities(self, rng: np.random.RandomState) -> np.ndarray:
        """A mean for each tissue, about 0 to 1."""
        if rng.rand() >= self.t1_share:
            means = rng.uniform(0, 1, len(TISSUES))
            means[0] = rng.uniform(0, 0.08) if rng.rand() < 0.85 else means[0]
            return means
        fluid, white = rng.uniform(0.05, 0.3), rng.uniform(0.7, 1)
        cortex = fluid + rng.uniform(0.4, 0.8) * (white - fluid)
        order = np.array([rng.uniform(*T1_ORDER[name]) if name in T1_ORDER else 0 for name in TISSUES])
        means = np.where(order < 1, fluid + order * (cortex - fluid), cortex + (order - 1) * (white - cortex))
        means[0] = rng.uniform(0, 0.08)
        return means


class _Head:
    """A label map, and where it lies."""

    def __init__(self, labels: torch.Tensor, classes: torch.Tensor, affine: np.ndarray) -> None:
        self.labels, self.classes, self.affine = _air_at_border(labels), _air_at_border(classes), affine
        thinned = slice(None, None, THINNED)
        self.whole = self._box(self.labels[thinned, thinned, thinned] > 0)
        thin = self.classes[thinned, thinned, thinned]
        self.space = self._box(thin > 0)
        self.hippocampi = self._box((thin == 1) | (thin == 2))
        self.centre = self.space.mean(0)

    def _box(self, mask: torch.Tensor) -> np.ndarray:
        """Two opposite corners of the box around a mask, in mm; of the whole map where the mask is empty."""
        corners = np.array([[0, 0, 0], [n - 1 for n in self.labels.shape]])
        for axis in range(3):
            hit = np.flatnonzero(mask.numpy().any(tuple(other for other in range(3) if other != axis)))
            if hit.size:
                corners[:, axis] = THINNED * hit[[0, -1]]
        mm = corners @ self.affine[:3, :3].T + self.affine[:3, 3]
        return np.sort(mm, axis=0)


def _air_at_border(values: torch.Tensor) -> torch.Tensor:
    """A copy whose outermost voxels are 0, which so is what lies beyond the map."""
    inner = tuple(slice(1, -1) for _ in values.shape)
    copied = torch.zeros_like(values)
    copied[inner] = values[inner]
    return copied


def _field_of_view(
    head: _Head, spacing: float, size: Sequence[int], rng: np.random.RandomState
) -> tuple[np.ndarray, list[int]]:
    """The centre of the first voxel in mm, and the voxels along each axis."""
    kind = rng.choice(["head", "brain", "hippocampi", "anywhere"], p=[0.6, 0.2, 0.12, 0.08])
    if kind == "head":
        low, high = head.whole
        low, high = low - rng.uniform(-8, 40, 3), high + rng.uniform(-8, 40, 3)
    elif kind == "brain":
        low, high = head.space
        low, high = low - rng.uniform(-6, 25, 3), high + rng.uniform(-6, 25, 3)
    elif kind == "hippocampi":
        low, high = head.hippocampi
        low, high = low - rng.uniform(12, 60, 3), high + rng.uniform(12, 60, 3)
    else:
        middle, half = rng.uniform(*head.whole), rng.uniform(40, 128, 3)
        low, high = middle - half, middle + half
    voxels = np.round((high - low) / spacing).astype(int)
    for axis, most in enumerate(size):
        if voxels[axis] > most:  # a part of it, more often towards the top, where the brain is
            low[axis] += spacing * (voxels[axis] - most) * (rng.uniform(0, 1) if axis < 2 else rng.beta(3, 1))
            voxels[axis] = most
    return low, [max(8, int(n)) for n in voxels]


def _random_linear(rng: np.random.RandomState, amount: float) -> np.ndarray:
    """Rotation, scaling and shearing, 3x3."""
    widest = 0.25 if rng.rand() < 0.6 else 0.55  # radians
    x, y, z = amount * rng.uniform(-widest, widest, 3)
    about_x = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_z = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    scale = np.exp(amount * (rng.uniform(-0.15, 0.15) + rng.uniform(-0.08, 0.08, 3)))
    shear = np.eye(3) + amount * rng.uniform(-0.06, 0.06, (3, 3)) * (1 - np.eye(3))
    return np.diag(scale) @ shear @ about_x @ about_y @ about_z


def _exchange(classes: torch.Tensor, one: int, other: int) -> torch.Tensor:
    table = torch.arange(256, dtype=torch.uint8)
    table[one], table[other] = other, one
    return _looked_up(table, classes)


def _remove_parts(labels: torch.Tensor, classes: torch.Tensor, rng: np.random.RandomState) -> None:
    """Strip some heads, and cut the neck or the face off some others, in place."""
    kind = rng.choice(["whole", "no skull", "no fluid", "cut"], p=[0.55, 0.12, 0.08, 0.25])
    if kind == "no skull":
        labels[classes == 0] = 0
    elif kind == "no fluid":
        labels[(classes == 0) | (labels == BRAIN_FLUID) | (labels >= BEYOND_THE_BRAIN)] = 0
    elif kind == "cut":
        for normal in ((0.0, 0.0, -1.0), (0.0, 0.7, -0.7)):
            if rng.rand() < 0.6:
                _cut(labels, classes, np.array(normal) + rng.uniform(-0.2, 0.2, 3), rng.uniform(0, 20))


def _cut(labels: torch.Tensor, classes: torch.Tensor, normal: np.ndarray, margin: float) -> None:
    """Remove what lies farther along a normal than the intracranial space and so many samples."""
    thin = torch.nonzero(classes[::4, ::4, ::4]).numpy() * 4
    if not len(thin):
        return
    farthest = float((thin @ normal).max() + margin)
    x, y, z = (torch.arange(n) * float(part) for n, part in zip(labels.shape, normal, strict=True))
    labels[(x[:, None, None] + y[:, None] + z > farthest) & (classes == 0)] = 0


def _no_head(shape: Sequence[int], rng: np.random.RandomState, generator: torch.Generator) -> torch.Tensor:
    """A label map of blobs, or of nothing."""
    known = [values[0] for values in TISSUES.values()]
    count = rng.randint(1, 9)
    cells = [rng.randint(2, 12) for _ in range(3)]
    fields = torch.randn(1, count, *cells, generator=generator)
    winner = F.interpolate(fields, size=list(shape), mode="trilinear", align_corners=True)[0].argmax(0)
    table = torch.tensor([known[rng.randint(len(known))] for _ in range(count)], dtype=torch.int16)
    return table[winner]


def _contrast(
    labels: torch.Tensor, means: np.ndarray, rng: np.random.RandomState, generator: torch.Generator
) -> torch.Tensor:
    """What a scanner measures: the mean over each voxel's samples, or something closer to one of them."""
    tissue = torch.zeros(VALUES, dtype=torch.float32)
    for number, values in enumerate(TISSUES.values()):
        tissue[list(values)] = float(means[number])
    texture = torch.zeros(VALUES)
    for values in TISSUES.values():
        texture[list(values)] = rng.uniform(0, 0.1)
    texture[0] = 0
    texture[BEYOND_THE_BRAIN:] *= rng.uniform(0, 3)
    fine = _looked_up(tissue, labels)
    sharp = rng.uniform(0, 1)
    image = (1 - sharp) * F.avg_pool3d(fine[None, None], FINE)[0, 0] + sharp * fine[::FINE, ::FINE, ::FINE]
    spread = _looked_up(texture, labels[::FINE, ::FINE, ::FINE])
    rough = torch.randn(image.shape, generator=generator)
    return image + spread * (rng.uniform(0, 1) * rough + _smooth(image.shape, rng.randint(4, 16), generator))


def _looked_up(table: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return table.index_select(0, values.reshape(-1).int()).reshape(values.shape)


def _smooth(shape: Sequence[int], cells: int, generator: torch.Generator) -> torch.Tensor:
    nodes = torch.randn(1, 1, cells, cells, cells, generator=generator)
    return F.interpolate(nodes, size=list(shape), mode="trilinear", align_corners=True)[0, 0]


def _majority(classes: torch.Tensor, count: int) -> torch.Tensor:
    """The class that most samples of each voxel have, the first of equal ones; of at most six."""
    digits = _looked_up(float(BASE) ** torch.arange(count), classes)  # a voxel's sum has the count of each class
    sums = (F.avg_pool3d(digits[None, None], FINE)[0, 0] * FINE**3).round().int()
    counts = torch.stack([sums // BASE**number % BASE for number in range(count)])
    return counts.max(0).indices.to(torch.uint8)


def _add_lesions(image: torch.Tensor, classes: torch.Tensor, spacing: float, rng: np.random.RandomState) -> None:
    """Ellipsoids of another intensity within the brain, in place, in a quarter of the images."""
    if rng.rand() >= 0.25:
        return
    places = torch.nonzero(classes)
    for _ in range(rng.randint(1, 5) if len(places) else 0):
        centre = places[rng.randint(len(places))]
        radii = rng.uniform(3, 25, 3) / spacing
        x, y, z = (
            ((torch.arange(n) - float(c)) / float(r)) ** 2 for n, c, r in zip(image.shape, centre, radii, strict=True)
        )
        hit = (x[:, None, None] + y[:, None] + z < 1) & (classes > 0)
        image[hit] = float(rng.uniform(0, 1)) + float(rng.uniform(0, 0.5)) * (image[hit] - image[hit].mean())


def _degrade(image: torch.Tensor, rng: np.random.RandomState, generator: torch.Generator) -> torch.Tensor:
    """Bias field, blur (thick slices most of all), gamma and noise."""
    image = image * torch.exp(rng.uniform(0, 0.5) * _smooth(image.shape, rng.randint(2, 6), generator))
    for axis in range(3):
        if rng.rand() < 0.3:
            image = _blurred(image, axis, rng.uniform(0.2, 1.0))
    image = image.clamp_(min=0) ** float(np.exp(rng.normal(0, 0.25)))
    deviation = rng.uniform(0, 0.12) if rng.rand() < 0.7 else 0.0
    noise = torch.randn(image.shape, generator=generator) * deviation
    return image + noise if rng.rand() < 0.5 else torch.hypot(image + noise, noise.flip(0))


def _blurred(image: torch.Tensor, axis: int, sigma: float) -> torch.Tensor:
    reach = torch.arange(-2, 3).float()
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    shape = [1, 1, 1, 1, 1]
    shape[axis + 2] = 5
    padding = [0, 0, 0, 0, 0, 0]
    padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = 2
    padded = F.pad(image[None, None], padding, mode="replicate")
    return F.conv3d(padded, (kernel / kernel.sum()).reshape(shape))[0, 0]
