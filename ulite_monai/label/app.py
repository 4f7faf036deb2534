"""The MONAI Label app: the models in its folder, what they segment, learn and ask for next."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.async_tasks.utils import background_executors, stop_background_task
from monailabel.utils.sessions import Sessions

from ulite_monai.errors import InputError, input_error
from ulite_monai.label.batch_task import SegmentAll
from ulite_monai.label.datastores import FolderDatastore, PacsDatastore, require_plain_name
from ulite_monai.label.dicom_seg import name_segments_by_value
from ulite_monai.label.http import guard
from ulite_monai.label.lifetime import at_the_end, end_with_the_server, lead
from ulite_monai.label.private_folder import PrivateFolder
from ulite_monai.label.segment_task import BundleSegmentation
from ulite_monai.label.train_task import BundleTraining, TrainOptions
from ulite_monai.label.uncertainty import Uncertainty
from ulite_monai.label.work_folder import models_in

__all__ = ["UliteApp"]


class UliteApp(MONAILabelApp):
    """Serves this project's bundles.

    Args:
        app_dir: the folder that `prepare_app` made.
        studies: a folder of images, or the URL of a PACS.
        conf: `models` (names, separated by commas; by default all in the folder), `device`, and, separated by commas,
            `hosts` (other names of the server) and `origins` (of other web pages that may use it).
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models = models_in(Path(app_dir), _names(conf, "models"))
        if not self.models:
            raise InputError(f"{app_dir}: holds no model; start it by ulite serve --bundle NAME.")
        self.device = conf.get("device", "auto")
        self.hosts, self.origins = _names(conf, "hosts"), _names(conf, "origins")
        end_with_the_server()  # if this process is a training that one has started
        self.private = PrivateFolder(Path(app_dir) / "tmp")
        self.private.install()
        name_segments_by_value()
        logging.getLogger("monailabel.datastore").setLevel(logging.WARNING)  # it logs what DICOM says of the patient
        super().__init__(app_dir, studies, conf, "U-Lite", "U-Lite. For research use only, not for diagnosis.")

    def init_datastore(self) -> Datastore:
        """A folder's or a PACS's."""
        store = self._pacs() if self.studies.startswith(("http://", "https://")) else self._folder()
        store.models = [model.labels for model in self.models.values()]
        return store

    def _folder(self) -> FolderDatastore:
        return FolderDatastore(
            self.studies,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def _pacs(self) -> PacsDatastore:
        user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        client = DICOMwebClientX(
            url=self.studies.rstrip("/"),
            session=create_session_from_user_pass(user, password) if user and password else None,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        client.set_http_retry_params(max_attempts=2)  # a person waits for the answer
        cache = Path(settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or Path(self.app_dir) / "dicom")
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        cache.chmod(0o700)  # it holds patients' images
        return PacsDatastore(
            folder=self.private,
            client=client,
            search_filter=settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER,
            cache_path=str(cache),
            fetch_by_frame=settings.MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME,
        )

    def init_infers(self) -> dict[str, BundleSegmentation]:
        """One for each model."""
        return {name: BundleSegmentation(model, self.device) for name, model in self.models.items()}

    def init_trainers(self) -> dict[str, BundleTraining]:
        """One for each model that can be trained."""
        return {name: BundleTraining(model, self.device) for name, model in self.models.items() if model.can_train}

    def init_strategies(self) -> dict[str, Any]:
        """Which image is next."""
        return {"random": Random(), "first": First(), "uncertainty": Uncertainty(self.models, self.device)}

    def init_batch_infer(self) -> Callable[..., Any]:
        """Segmentation of all images."""
        return SegmentAll()

    def on_init_complete(self) -> None:
        """Called when the server has started."""
        from monailabel.app import app as api

        lead()
        self.private.empty()
        at_the_end(self.close)
        super().on_init_complete()
        guard(api, self, self.private, self.hosts, self.origins)

    def close(self) -> None:
        """End what runs in the background and remove what was uploaded."""
        for method, executor in background_executors.items():
            executor.shutdown(wait=False, cancel_futures=True)
            stop_background_task(method)
        self.private.empty()

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment many images; runs in a process of its own."""
        with self.private.opened():
            return super().batch_infer(request, datastore)

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment one image.

        Args:
            request: `model`; `image`, an id, or the file that the server made of an upload; `save_label`, `label_tag`;
                and what `BundleSegmentation` takes.
            datastore: where the image is; by default the app's.

        Raises:
            MONAILabelException: When there is no such model or image.
            InputError: When the image can't be segmented.
        """
        self.require_model(request.get("model"))
        store, image = datastore or self.datastore(), str(request["image"] or "")
        if not image:
            raise ImageNotFoundException("no image is named; a session's has ended with it.")
        uploaded = self._is_upload(image)
        path = image if uploaded else store.known_path(image)
        modality = "" if uploaded else store.get_image_info(image).get("Modality", "")
        try:
            file, result = self._infers[request["model"]]({**request, "image": path, "modality": modality})
        except Exception as error:  # MONAI wraps what a file provokes
            known = input_error(error)
            if known is None:
                raise
            raise InputError(str(known).replace(path, "the upload") if uploaded else str(known)) from error
        label, tag = file, request.get("label_tag") or DefaultLabelTag.ORIGINAL
        if request.get("save_label") and not uploaded:
            segments = [{"name": name, "idx": value} for name, value in result["label_names"].items()]
            info = {"model": request["model"], "params": result, "label_info": segments}
            label = store.save_label(image, file, tag, info)
        return {"label": label, "tag": tag, "file": file, "params": result}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The next image to label; nothing when all are labelled.

        Raises:
            MONAILabelException: When there is no such strategy.
        """
        if request.get("strategy") not in self._strategies:
            raise _unknown("strategy", request.get("strategy"), self._strategies)
        return super().next_sample(request)

    def require_model(self, name: str | None) -> None:
        """Check that there is such a model.

        Raises:
            MONAILabelException: When there isn't.
        """
        if name not in self._infers:
            raise _unknown("model", name, self._infers)

    def require_one_file(self, session: str) -> None:
        """Check that a session, if there is such a one, is of one file, which can be sent back.

        Raises:
            InputError: When it is of several.
        """
        require_plain_name(session)
        found = self.sessions().get_session(session, update_ts=False) if self.sessions() is not None else None
        if found is not None and not Path(found.image).is_file():
            raise InputError(f"the session {session} is of several files, which aren't sent back.")

    def require_trainable(self, name: str | None, request: dict[str, Any]) -> None:
        """Check that a training can start.

        Raises:
            MONAILabelException: When there is no such model to train.
            InputError: When there is no label yet, or an option is wrong.
        """
        if name is not None and name not in self._trainers:
            raise _unknown("model to train", name, self._trainers)
        for options in [request] if name else [v for v in request.values() if isinstance(v, dict)]:
            TrainOptions.of(options)
        if not self.datastore().get_labeled_images():
            raise InputError("there are no labels yet: save one with the tag final, then train.")

    def _load_sessions(self, load: bool = False) -> Sessions | None:
        return (
            UploadedSessions(str(self.private.path / "sessions"), settings.MONAI_LABEL_SESSION_EXPIRY) if load else None
        )

    def _is_upload(self, image: str) -> bool:
        """Whether it is a file that the server itself made of what came with a request, or of a session's."""
        path = Path(image)
        if not path.is_absolute():
            require_plain_name(image)
            return False
        real = path.resolve()
        if self.private.current is not None and real.parent == self.private.current.resolve():
            return True
        sessions = self.sessions()
        if sessions is not None and Path(sessions.store_path).resolve() in real.parents:
            return True
        raise ImageNotFoundException(f"there is no image {image!r}.")


class UploadedSessions(Sessions):
    """Images that a viewer uploads once and names in several requests; they end with the server at the latest."""

    def add_session(self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: Any = None) -> Any:
        if uncompress and not (data_file.lower().endswith(".zip") and zipfile.is_zipfile(data_file)):
            raise InputError("only one zip archive can be uncompressed; send the files as they are, or a .zip.")
        return super().add_session(data_file, expiry, uncompress, session_id)


def _names(conf: dict[str, str], key: str) -> list[str]:
    return [name for name in conf.get(key, "").split(",") if name]


def _unknown(what: str, name: Any, known: Any) -> MONAILabelException:
    found = ", ".join(known) or "none"
    return MONAILabelException(MONAILabelError.INVALID_INPUT, f"there is no {what} {name!r}; there is {found}.")
