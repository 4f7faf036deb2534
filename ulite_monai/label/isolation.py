"""Each request in a thread and a temporary folder of its own, so that none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from ulite_monai.label.private_folder import PrivateFolder

__all__ = ["Isolated"]


class Isolated:
    """ASGI middleware. MONAI Label answers on the server's event loop, which then can't answer anyone else.

    Args:
        app: what answers.
        folder: where temporary files go.
    """

    def __init__(self, app: ASGIApp, folder: PrivateFolder) -> None:
        self.app = app
        self.folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; when it returns, the answer is sent and nothing of the request is left."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        loop = asyncio.get_running_loop()

        def across(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def call(*arguments: Any) -> Any:
                return await function(*arguments)

            async def from_the_thread(*arguments: Any) -> Any:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(*arguments), loop))

            return from_the_thread

        def answer() -> None:
            asyncio.run(self.app(scope, across(receive), across(send)))  # type: ignore[arg-type]

        with self.folder.opened():
            await run_in_threadpool(answer)
