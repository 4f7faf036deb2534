"""From bundles and images to a running MONAI Label server."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ulite_monai.errors import InputError
from ulite_monai.label.environment import require_monai_label
from ulite_monai.label.work_folder import Model, prepare_app

__all__ = ["serve"]


def serve(
    bundles: Sequence[str],
    studies: str,
    work: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> NoReturn:
    """Become a MONAI Label server.

    Args:
        bundles: names of shipped ones, or folders.
        studies: a folder of images, or the URL of a PACS's DICOMweb.
        work: the app's folder, where copies of the bundles and all that is trained are.
        host: the address to listen at.
        port: the port.
        device: what to compute on.
        origins: of other web pages that may use the server.
        hosts: other names and addresses by which the server may be called.

    Raises:
        InputError: When it can't start; one sentence says why.
    """
    require_monai_label()
    if not studies.startswith(("http://", "https://")) and not Path(studies).is_dir():
        raise InputError(f"{studies}: is no folder; give a folder of images, or a PACS's DICOMweb as http://HOST/PATH.")
    _require_safe(host)
    _require_free(host, port)
    models = prepare_app(work.resolve(), bundles)
    command = [sys.executable, "-W", "ignore", "-m", "monailabel.main", "start_server"]
    command += ["--app", str(work.resolve()), "--studies", studies, "--host", host, "--port", str(port)]
    command += ["--conf", "models", ",".join(model.name for model in models), "--conf", "device", device]
    command += ["--conf", "hosts", ",".join([host, *hosts])]
    command += ["--conf", "origins", ",".join(origins)] if origins else []
    sys.stdout.flush()
    os.execve(sys.executable, command, _environment(work.resolve(), models))


def _require_safe(host: str) -> None:
    """Whoever reaches the server reads the images; elsewhere than on this machine it asks who they are."""
    if host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        return
    from monailabel.config import settings

    if not settings.MONAI_LABEL_AUTH_ENABLE:
        raise InputError(
            f"--host {host} lets other machines in, and nothing asks who they are. Set up authentication: "
            "MONAI_LABEL_AUTH_ENABLE=true and MONAI_LABEL_AUTH_REALM_URI=https://KEYCLOAK/realms/NAME in the "
            "environment, with users that have the roles of MONAI Label; or leave --host out."
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _require_free(host: str, port: int) -> None:
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(kind, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise InputError(f"--host {host} --port {port}: can't be listened at ({error}); give another port.") from None


def _environment(work: Path, models: Sequence[Model]) -> dict[str, str]:
    """MONAI Label's settings are variables; those that the user has set stay."""
    modalities = {kind for model in models for kind in model.metadata.get("input_ranges", {}).get("modality", [])}
    found = {"Modality": modalities.pop()} if len(modalities) == 1 else {}
    defaults = {
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": json.dumps(found),
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(work / "dicom"),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "2",  # seconds; by default a new series is seen after two hours
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_ZOO_SOURCE": "local",
    }
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # dcmqi's are there
    return defaults | dict(os.environ) | {"PATH": programs}
