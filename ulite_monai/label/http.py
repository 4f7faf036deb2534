"""What the server answers to wrong requests: a status of 4xx and one sentence; and which requests it takes at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException

from ulite_monai.errors import InputError, reason
from ulite_monai.label.datastores import require_plain_name

__all__ = ["Refusing", "guard"]

NAMES = ("image", "id", "label", "tag", "session_id")
Answer = Callable[[Request], Awaitable[Response]]


class Refusing(Protocol):
    """An app that can say beforehand why it won't do something in the background."""

    def require_model(self, name: str) -> None:
        """Raises when there is no such model to segment with."""

    def require_trainable(self, name: str | None, request: dict[str, Any]) -> None:
        """Raises when there is no such model to train (None for any), no label yet, or an option is wrong."""


def guard(api: FastAPI, app: Refusing, origins: Collection[str] = ()) -> None:
    """Make a MONAI Label server answer with sentences, and refuse what it shouldn't do.

    Args:
        api: the server's application.
        app: decides about trainings.
        origins: web pages of these origins may send requests too, as "http://localhost:3000"; others than the server's
            own may not: it would let any web page that its user opens read the images.
    """
    api.add_exception_handler(InputError, _answers(422))
    api.add_exception_handler(ImageNotFoundException, _answers(404))
    api.add_exception_handler(LabelNotFoundException, _answers(404))
    api.add_exception_handler(MONAILabelException, _answers(404))  # elsewhere: "there is no such ..."
    api.add_exception_handler(json.JSONDecodeError, _answers(400))
    api.add_exception_handler(requests.RequestException, _answers(502))
    api.add_exception_handler(HTTPException, _http_error)
    api.middleware_stack = None  # MONAI Label starts its app after the server; what was added counts from now on

    async def refuse_or_answer(request: Request, answer: Answer) -> Response:
        try:
            _require_origin(request, origins)
            for name in NAMES:
                for value in filter(None, request.query_params.getlist(name)):
                    require_plain_name(value)
            await _require_possible(request, app)
        except HTTPException as error:
            return _sentence(error.status_code, error.detail)
        except InputError as error:
            return _sentence(422, str(error))
        except MONAILabelException as error:
            return _sentence(404, error.msg)
        return await answer(request)

    api.middleware("http")(refuse_or_answer)


def _require_origin(request: Request, origins: Collection[str]) -> None:
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host") and origin not in origins:
        raise HTTPException(403, f"a page of {origin} may not use this server; start it with --allow-origin {origin}.")


async def _require_possible(request: Request, app: Refusing) -> None:
    match (request.method, *request.url.path.strip("/").split("/")):
        case ("POST", "train", *rest):
            app.require_trainable(rest[0] if rest else None, await _body(request))
        case ("POST", "batch", "infer", model):
            app.require_model(model)
        case ("PUT" | "DELETE", "model", *_):
            raise HTTPException(405, "weights aren't replaced over HTTP; they change by training (POST /train/MODEL).")


async def _body(request: Request) -> dict[str, Any]:
    text = await request.body()
    try:
        found = json.loads(text) if text else {}
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"the request's body is no JSON ({error}).") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the request's body must be a JSON object of options.")
    return found


def _answers(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return _sentence(status, error.msg if isinstance(error, MONAILabelException) else reason(error))

    return answer


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = 400 if error.status_code == 500 else error.status_code  # MONAI Label's 500s are the request's fault
    return JSONResponse({"detail": error.detail}, status, headers=error.headers)


def _sentence(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)
