"""What the server answers to wrong requests: a status of 4xx and one sentence; and which requests it takes at all."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Awaitable, Callable, Collection
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pydantic
import requests
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.endpoints import datastore, infer
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException

from ulite_monai.errors import InputError, reason
from ulite_monai.label.datastores import require_plain_name
from ulite_monai.label.isolation import Isolated
from ulite_monai.label.private_folder import PrivateFolder

__all__ = ["LOCAL", "guard"]

LOCAL = ("127.0.0.1", "localhost", "::1")  # what a browser may call this machine
NAMES = ("image", "id", "label", "tag", "session_id")
TEXTS = ("model", "strategy", "image", "label_tag", "gpus", "device")  # what options of these names must be
CHECK_SUM = re.compile(r"((SHA256|SHA512|MD5):)?[0-9a-fA-F]*")
# The routes of DICOMweb, as they follow its root; what else a PACS serves there isn't for viewers. OHIF stores by wado.
RETRIEVED = re.compile(r"/proxy/dicom/((wado|qido)/)?(studies|series|instances)(/[\w.,-]+)*/?", re.ASCII)
STORED = re.compile(r"/proxy/dicom/((stow|wado)/)?studies(/[\d.]+)?/?", re.ASCII)
Answer = Callable[[Request], Awaitable[Response]]


class Refusing(Protocol):
    """An app that can say beforehand why it won't do something in the background."""

    studies: str

    def require_model(self, name: str) -> None:
        """Raises when there is no such model to segment with."""

    def require_one_file(self, session: str) -> None:
        """Raises when a session is of several files."""

    def require_trainable(self, name: str | None, request: dict[str, Any]) -> None:
        """Raises when there is no such model to train (None for any), no label yet, or an option is wrong."""


def guard(
    api: FastAPI, app: Refusing, folder: PrivateFolder, hosts: Collection[str] = (), origins: Collection[str] = ()
) -> None:
    """Make a MONAI Label server answer with sentences, and refuse what it shouldn't do.

    Args:
        api: the server's application.
        app: decides about trainings.
        folder: where the files go that come with a request or are made for it; nothing of them is kept.
        hosts: names and addresses, beside this machine's own, by which the server may be called. By any other, the page
            of another site could ask for it: its name can be made to mean this machine (DNS rebinding).
        origins: web pages of these origins may send requests too, as "http://localhost:3000"; others than the server's
            own may not: it would let any web page that its user opens read the images.
    """
    api.add_exception_handler(InputError, _answers(422))
    api.add_exception_handler(pydantic.ValidationError, _answers(422))
    api.add_exception_handler(ImageNotFoundException, _answers(404))
    api.add_exception_handler(LabelNotFoundException, _answers(404))
    api.add_exception_handler(MONAILabelException, _answers(404))  # elsewhere: "there is no such ..."
    api.add_exception_handler(json.JSONDecodeError, _answers(400))
    api.add_exception_handler(requests.RequestException, _answers(502))
    api.add_exception_handler(OverflowError, _answers(422))
    api.add_exception_handler(OSError, _not_a_file)
    api.add_exception_handler(ValueError, _not_a_file)
    api.add_exception_handler(HTTPException, _http_error)
    for endpoints in (datastore, infer):  # form fields that they take for objects unseen
        endpoints.json = SimpleNamespace(loads=_json_object, dumps=json.dumps)  # type: ignore[attr-defined]
    infer.binary_to_image = _no_scribbles
    api.middleware_stack = None  # MONAI Label starts its app after the server; what was added counts from now on

    async def refuse_or_answer(request: Request, answer: Answer) -> Response:
        try:
            _require_host(request, {*LOCAL, *(host.lower() for host in hosts)})
            _require_origin(request, origins)
            _require_straight_path(request)
            for name in NAMES:
                for value in filter(None, request.query_params.getlist(name)):
                    require_plain_name(value)
            if not CHECK_SUM.fullmatch(request.query_params.get("check_sum", "")):
                raise InputError("check_sum must be hexadecimal, after SHA256:, SHA512: or MD5:.")
            await _require_possible(request, app)
        except HTTPException as error:
            return _sentence(error.status_code, error.detail)
        except InputError as error:
            return _sentence(422, str(error))
        except MONAILabelException as error:
            return _sentence(404, error.msg)
        return await answer(request)

    api.middleware("http")(refuse_or_answer)
    api.add_middleware(Isolated, folder=folder)


def _require_host(request: Request, known: Collection[str]) -> None:
    for host in request.headers.getlist("host") or [""]:
        name = re.sub(r":\d*$", "", host).strip("[]").lower()
        if name not in known:
            raise HTTPException(403, f"this server isn't {name!r}; start it with --allow-host NAME for another name.")


def _require_origin(request: Request, origins: Collection[str]) -> None:
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host") and origin not in origins:
        raise HTTPException(403, f"a page of {origin} may not use this server; start it with --allow-origin {origin}.")


def _require_straight_path(request: Request) -> None:
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    for _ in range(4):  # programs behind this one decode again
        if "\\" in path or any(part in (".", "..") for part in re.split("[/;]", path)) or not path.isprintable():
            raise HTTPException(400, "the path must not have segments of dots, backslashes or control characters.")
        path = unquote(path)


async def _require_possible(request: Request, app: Refusing) -> None:
    if request.query_params.get("run_sync", "false").lower() not in ("false", "0", "off", "no", "f", "n", ""):
        raise HTTPException(422, "run_sync isn't offered; start it without, and ask by GET how it goes.")
    path = request.url.path.removeprefix(settings.MONAI_LABEL_API_STR)
    match (request.method, *path.strip("/").split("/")):
        case ("POST", "train", *rest):
            body = await _body(request)
            app.require_trainable(body.get("model") or (rest[0] if rest else None), body)
        case ("POST", "batch", "infer", model):
            app.require_model((await _body(request)).get("model") or model)
        case ("POST", "activelearning", *_):
            await _body(request)
        case ("PUT" | "DELETE", "model", *_):
            raise HTTPException(405, "weights aren't replaced over HTTP; they change by training (POST /train/MODEL).")
        case (method, "proxy", *_):
            allowed = {"GET": RETRIEVED, "POST": STORED}.get(method)
            if not app.studies.startswith(("http://", "https://")):
                raise HTTPException(404, "there is no PACS: this server's studies are a folder.")
            if allowed is None or not allowed.fullmatch(path):
                raise HTTPException(403, "only the PACS's DICOMweb is served: studies, series, instances, and storing.")
        case ("POST", "infer", "wsi" | "wsi_v2", *_):
            raise HTTPException(404, "whole-slide images aren't segmented here; send an image to /infer/MODEL.")
        case ("GET", "session", name) if request.query_params.get("image"):
            app.require_one_file(name)
        case ("POST", "scoring", *_):
            raise HTTPException(404, "there is no scoring method.")
        case ("POST", "reload"):
            raise HTTPException(405, "the server isn't reloaded over HTTP; start it again.")
        case ("GET", "logs", "gpu") if shutil.which("nvidia-smi") is None:
            raise HTTPException(404, "there is no nvidia-smi on the server.")


async def _body(request: Request) -> dict[str, Any]:
    return _json_object(text) if (text := await request.body()) else {}


def _json_object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # what couldn't be sent back isn't taken
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"what must be JSON isn't ({error}).") from None
    if not isinstance(found, dict):
        raise HTTPException(400, f"a JSON object of options is needed, got {found!r:.80}.")
    for name in TEXTS:
        if not isinstance(found.get(name, ""), str | None):
            raise HTTPException(422, f"{name} must be a text, got {found[name]!r:.80}.")
    return found


def _no_scribbles(image: str, label: str) -> None:
    raise InputError("the models segment without scribbles: leave the form field label out.")


def _answers(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return _sentence(status, error.msg if isinstance(error, MONAILabelException) else reason(error))

    return answer


def _not_a_file(request: Request, error: Exception) -> Response:
    """What the names of uploaded files provoke; anything else is a fault of the server."""
    too_odd = isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL)
    if too_odd or isinstance(error, UnicodeError) or "null byte" in str(error):
        return _sentence(422, "a name in the request can't be a file's: it is too long, or has odd characters.")
    raise error


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = 400 if error.status_code == 500 else error.status_code  # MONAI Label's 500s are the request's fault
    return JSONResponse({"detail": error.detail}, status, headers=error.headers)


def _sentence(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)
