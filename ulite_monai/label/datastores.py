"""MONAI Label's datastores, with ids that can't leave their folder and an index that is never half written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.read_volume import ITK_SUFFIXES, NIFTI_SUFFIXES, read_volume

__all__ = ["FolderDatastore", "PacsDatastore", "require_plain_name"]


def require_plain_name(name: str) -> None:
    """Check that an id, a tag or a session can only name something in its own folder.

    Raises:
        InputError: When it could lead elsewhere.
    """
    if not name or name.startswith(".") or any(mark in name for mark in "/\\\0") or len(name) > 200:
        raise InputError(f"{name!r} can't be an id: it must be a name without slashes that doesn't begin with a dot.")


class _Careful:
    """What both datastores do more carefully than MONAI Label's."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        require_plain_name(image_id)
        return super().add_image(image_id, image_filename, image_info)  # type: ignore[misc]

    def save_label(self, image_id: str, label_filename: str, label_tag: str, *rest: Any, **more: Any) -> str:
        require_plain_name(label_tag)
        if image_id not in self.list_images():  # type: ignore[attr-defined]
            raise ImageNotFoundException(f"there is no image {image_id!r}.")
        if label_filename.lower().endswith((*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
            read_volume(label_filename)  # a damaged label is refused now, not when it is trained on
        return super().save_label(image_id, label_filename, label_tag, *rest, **more)  # type: ignore[misc]

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):  # type: ignore[attr-defined]
                return self._update_datastore_file(lock=False)
        content = self._datastore.model_dump(exclude={"base_path"})  # type: ignore[attr-defined]
        index = Path(self._datastore_config_path)  # type: ignore[attr-defined]
        with atomic_path(index) as path:
            path.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        self._config_ts = os.stat(index).st_mtime


class FolderDatastore(_Careful, LocalDatastore):
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


class PacsDatastore(_Careful, DICOMWebDatastore):
    """Series and DICOM SEG of a PACS, by DICOMweb; MONAI Label keeps copies as NIfTI."""

    def known_path(self, image_id: str) -> str:
        """The file of a series, fetched from the PACS if need be.

        Raises:
            ImageNotFoundException: When the PACS doesn't have it.
        """
        require_plain_name(image_id)
        try:
            return self.get_image_uri(image_id)
        except IndexError:  # what MONAI Label makes of an empty answer
            folder = Path(self._datastore.image_path()) / image_id
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise ImageNotFoundException(f"the PACS has no series {image_id!r}.") from None
