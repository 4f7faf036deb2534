"""MONAI Label's datastores, with ids that can't leave their folder, labels that can be trained on, whole indexes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom_seg
import SimpleITK
from cachetools import TTLCache, cached
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException
from pydicom.dataset import Dataset

from ulite_monai.datasets.cases import stem
from ulite_monai.errors import InputError, reason
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.write_nifti import write_label_map
from ulite_monai.label.private_folder import PrivateFolder
from ulite_monai.label.saved_label import require_label, segments_of

__all__ = ["FolderDatastore", "PacsDatastore", "require_plain_name"]

# What is known of a PACS is asked again after a while, and after a label was stored there.
ASKED: TTLCache = TTLCache(16, settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY)
ASKING = threading.RLock()


def require_plain_name(name: str) -> None:
    """Check that an id, a tag or a session can only name something in its own folder.

    Raises:
        InputError: When it could lead elsewhere.
    """
    plain = name and not name.startswith(".") and not any(mark in name for mark in "/\\") and name.isprintable()
    if not plain or len(name.encode()) > 200:
        raise InputError(f"{name!r} can't be an id: it must be a name without slashes that doesn't begin with a dot.")


class _Shared(LocalDatastore):
    """The index of a datastore, which threads share."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._turn = threading.RLock()
        super().__init__(*arguments, **more)


def _in_turn(name: str) -> Any:
    def method(self: _Shared, *arguments: Any, **more: Any) -> Any:
        with self._turn:
            return getattr(super(_Shared, self), name)(*arguments, **more)

    method.__name__ = name
    return method


for _name in (
    *("add_image", "remove_image", "save_label", "remove_label", "update_image_info", "update_label_info"),
    *("refresh", "datalist", "get_labeled_images", "get_unlabeled_images", "list_images", "status", "json"),
    *("get_image_uri", "get_image_info", "get_label_uri", "get_label_info"),
    "_init_from_datastore_file",
):
    setattr(_Shared, _name, _in_turn(_name))


class _Careful:
    """What both datastores do more carefully than MONAI Label's.

    Attributes:
        models: the classes of each model and their values; a label must suit one of them.
        unusable: of the last `datalist`, the images whose label can't be read, and why.
    """

    models: Sequence[Mapping[str, int]] = ()
    unusable: Mapping[str, str] = {}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        require_plain_name(image_id)
        _, suffix = self._to_id(os.path.basename(image_filename))  # type: ignore[attr-defined]
        if f"*{suffix}" not in self._extensions:  # type: ignore[attr-defined]
            known = ", ".join(pattern[1:] for pattern in self._extensions)  # type: ignore[attr-defined]
            raise InputError(f"the image's file must end in one of {known}, got {suffix!r}.")
        return super().add_image(image_id, image_filename, image_info)  # type: ignore[misc]

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        require_plain_name(label_tag)
        if image_id not in self.list_images():  # type: ignore[attr-defined]
            raise ImageNotFoundException(f"there is no image {image_id!r}.")
        segments, image = segments_of(label_info), self.known_path(image_id)  # type: ignore[attr-defined]
        try:
            require_label(image, label_filename, self.models, segments)
        except InputError as error:
            raise InputError(str(error).replace(str(label_filename), f"the label of {image_id}")) from None
        return super().save_label(image_id, label_filename, label_tag, label_info, *rest)  # type: ignore[misc]

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        segments_of(info)
        super().update_label_info(label_id, label_tag, info)  # type: ignore[misc]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        if not self.datalist():  # type: ignore[attr-defined]
            raise ImageNotFoundException("there are no labels yet: save one with the tag final.")
        return super().get_dataset_archive(limit_cases)  # type: ignore[misc]

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if not self.get_label_uri(label_id, label_tag):  # type: ignore[attr-defined]
            raise LabelNotFoundException(f"there is no label {label_id!r} with the tag {label_tag!r}.")
        super().remove_label(label_id, label_tag)  # type: ignore[misc]

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):  # type: ignore[attr-defined]
                return self._update_datastore_file(lock=False)
        content = self._datastore.model_dump(exclude={"base_path"})  # type: ignore[attr-defined]
        index = Path(self._datastore_config_path)  # type: ignore[attr-defined]
        with atomic_path(index) as path:
            path.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        self._config_ts = os.stat(index).st_mtime


class FolderDatastore(_Careful, _Shared):
    """Images and labels in a folder."""

    def known_path(self, image_id: str) -> str:
        """The file of an image.

        Raises:
            ImageNotFoundException: When there is none.
        """
        path = self.get_image_uri(image_id)
        if not path or not os.path.isfile(path):
            raise ImageNotFoundException(f"there is no image {image_id!r}.")
        return path


class PacsDatastore(_Careful, DICOMWebDatastore, _Shared):
    """Series and DICOM SEG of a PACS, by DICOMweb; MONAI Label keeps copies as NIfTI.

    Args:
        folder: where temporary files go.
        more: what MONAI Label's datastore takes.
    """

    def __init__(self, *, folder: PrivateFolder, **more: Any) -> None:
        super().__init__(**more)
        self._folder = folder

    def known_path(self, image_id: str) -> str:
        """The file of a series, fetched from the PACS if need be.

        Raises:
            ImageNotFoundException: When the PACS doesn't have it.
        """
        return self.get_image_uri(image_id)

    def get_image_uri(self, image_id: str) -> str:
        require_plain_name(image_id)
        images = Path(self._datastore.image_path())
        with FileLock(images / ".fetching"):  # a series must not be read while it is half there
            if not (images / f"{image_id}.nii.gz").is_file():
                shutil.rmtree(images / image_id, ignore_errors=True)
            try:
                return super().get_image_uri(image_id)
            except IndexError:  # what MONAI Label makes of an empty answer
                raise ImageNotFoundException(f"the PACS has no series {image_id!r}.") from None

    @cached(ASKED, key=lambda self: (id(self), "images"), lock=ASKING)
    def list_images(self) -> list[str]:
        """The series that the search filter lets pass."""
        found = self._client.search_for_series(search_filters=self._search_filter)
        return [str(Dataset.from_json(series).SeriesInstanceUID) for series in found]

    @cached(ASKED, key=lambda self: (id(self), "segmentations"), lock=ASKING)
    def segmentations(self) -> dict[str, Dataset]:
        """Of each series that has one, the newest DICOM SEG, without its voxels."""
        newest: dict[str, Dataset] = {}
        for found in self._client.search_for_series(search_filters={"Modality": "SEG"}):
            series = Dataset.from_json(found)
            for one in self._client.retrieve_series_metadata(series.StudyInstanceUID, series.SeriesInstanceUID):
                seg = Dataset.from_json(one)
                for referenced in seg.get("ReferencedSeriesSequence") or ():
                    image = str(referenced.SeriesInstanceUID)
                    if image not in newest or _age(newest[image]) < _age(seg):
                        newest[image] = seg
        return {image: newest[image] for image in self.list_images() if image in newest}

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        return list(self.segmentations())

    def status(self) -> dict[str, Any]:
        """How many series there are, and how many of them have a label, wherever it was made."""
        images, labelled = self.list_images(), self.get_labeled_images()
        with self._turn:
            objects = list(self._datastore.objects.values())
        tags = Counter(tag for entry in objects for tag in entry.labels if tag != DefaultLabelTag.FINAL.value)
        tags[DefaultLabelTag.FINAL.value] = len(labelled)
        return {"total": len(images), "completed": len(labelled), "label_tags": dict(tags)}

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], *rest: Any
    ) -> str:
        """Check and store a label; a final one goes to the PACS as DICOM SEG.

        Raises:
            ImageNotFoundException: When there is no such series.
            InputError: When it can't be trained on, or is empty.
        """
        if label_filename.lower().endswith(".bin"):
            label_filename = str(_from_raw_voxels(Path(label_filename), self.known_path(image_id)))
        try:
            return super().save_label(image_id, label_filename, label_tag, label_info, *rest)
        finally:
            with ASKING:
                ASKED.clear()

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """The file of a series' label, fetched from the PACS if need be; "" where there is none."""
        image = image_id or label_id
        if label_tag == DefaultLabelTag.FINAL and image in self.segmentations():
            self.get_image_uri(image)
            self._fetch_label(image, self.segmentations()[image])
        return LocalDatastore.get_label_uri(self, image, label_tag)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        if label_tag == DefaultLabelTag.FINAL and label_id in self.segmentations():
            raise InputError("final labels are DICOM SEG in the PACS, and are removed there.")
        super().remove_label(label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        with self._folder.opened():
            self._download_labeled_data()
        pairs = LocalDatastore.datalist(self, full_path)
        return [pair for pair in pairs if stem(Path(pair["image"])) not in self.unusable]

    def _download_labeled_data(self) -> None:
        """Fetch every series that has a label, and its newest; forget labels that the PACS no longer has."""
        segmentations, unusable = self.segmentations(), {}
        for image in set(LocalDatastore.get_labeled_images(self)) - set(segmentations):
            LocalDatastore.remove_label(self, image, DefaultLabelTag.FINAL)
        self.refresh()
        for image, seg in segmentations.items():
            try:
                self.get_image_uri(image)
                self._fetch_label(image, seg)
            except Exception as error:  # whatever other programs' segmentations provoke
                unusable[image] = f"its newest segmentation {seg.SeriesInstanceUID} can't be read ({reason(error)})"
        self.unusable = unusable

    def _fetch_label(self, image: str, seg: Dataset) -> None:
        if self.get_label_info(image, DefaultLabelTag.FINAL).get("SeriesInstanceUID") == seg.SeriesInstanceUID:
            return
        uids = (seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.SOPInstanceUID)
        whole = self._client.retrieve_instance(*uids)
        segments = [{"name": str(s.SegmentLabel), "idx": int(s.SegmentNumber)} for s in whole.SegmentSequence]
        path = os.path.join(tempfile.gettempdir(), f"{image}.nii.gz")
        SimpleITK.WriteImage(pydicom_seg.MultiClassReader().read(whole).image, path)
        info = {"SeriesInstanceUID": str(seg.SeriesInstanceUID), "label_info": segments}
        LocalDatastore.save_label(self, image, path, DefaultLabelTag.FINAL.value, info)


def _age(seg: Dataset) -> tuple[str, ...]:
    """What orders segmentations in time."""
    fields = ("ContentDate", "ContentTime", "SeriesDate", "SeriesTime", "SOPInstanceUID")
    return tuple(str(seg.get(field) or "") for field in fields)


def _from_raw_voxels(path: Path, image: str) -> Path:
    """The label that OHIF's plugin sends: one byte a voxel, in the image's order, without a header."""
    volume, voxels = read_volume(image, "replace"), np.fromfile(path, np.uint8)
    if voxels.size != volume.array.size:
        raise InputError(f"the label has {voxels.size} voxels, its image {volume.array.size}: it must be of one grid.")
    target = path.with_suffix(".nii.gz")
    write_label_map(voxels.reshape(volume.array.shape, order="F"), volume, target)
    return target
