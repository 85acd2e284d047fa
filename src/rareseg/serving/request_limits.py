"""Limits on requests that hold before their bodies are read: token, queue, size, time.

Written against ASGI itself, below the framework, which reads a whole form before any code of a
route runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from rareseg.serving.service_metrics import Metrics
from rareseg.serving.service_options import ServiceOptions

LOG = logging.getLogger("rareseg.serving")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/health",)
"""Paths that need no token."""

KNOWN = ("/health", "/ready", "/model", "/metrics", "/predict", "/batch")
"""Paths that are told apart in metrics and logs; a sender could name endless others."""


Refusal = tuple[HTTPStatus, str]
"""The status of an answer and its one sentence."""


class RequestLimits:
    """An ASGI application around another, which lets through what the options allow.

    Of every request one line is logged: method, path, status, milliseconds and, of a body, the
    first 16 letters of its SHA-256. ``busy`` says how many images are computed for requests that
    were given up.
    """

    def __init__(
        self, app: App, options: ServiceOptions, metrics: Metrics, busy: Callable[[], int]
    ) -> None:
        self._app, self._options, self._metrics, self._busy = app, options, metrics, busy
        self._in_progress = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0
        body = _Body(receive, self._options.largest_bytes, begun + self._options.seconds)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def answering(message: Message) -> None:
            if body.refusal is None:
                await noting(message)
            elif not status:  # What the framework says of the missing rest tells nobody anything.
                await refuse(noting, *body.refusal)

        works = scope["method"] == "POST"
        refusal = self._refusal(scope, works=works)
        if works and refusal is None:
            self._in_progress += 1
            self._metrics.waiting.set(self._in_progress)
        try:
            if refusal is not None:
                await refuse(noting, *refusal)
            else:
                await self._app(scope, body.receive, answering)
        finally:
            if works and refusal is None:
                self._in_progress -= 1
                self._metrics.waiting.set(self._in_progress)
            seconds = time.monotonic() - begun
            path = scope["path"] if scope["path"] in KNOWN else "other"
            self._metrics.answered(path, status, seconds)
            LOG.info("%s %s %d %.0f ms %s", scope["method"], path, status, 1e3 * seconds, body.hash)

    def _refusal(self, scope: MutableMapping[str, Any], *, works: bool) -> Refusal | None:
        """Return why a request is refused by its head alone."""
        options = self._options
        headers = {name.lower(): value for name, value in scope["headers"]}
        if options.token and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + options.token.encode("ascii")):
                return (
                    HTTPStatus.UNAUTHORIZED,
                    "This service asks for its token: send the header `Authorization: Bearer …`.",
                )
        if not works:
            return None
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > options.largest_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(options.largest_bytes)
        if self._in_progress + self._busy() >= options.queue:
            return (
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{options.queue} requests wait already; send it again in a moment.",
            )
        return None


class _Body:
    """The body of a request, hashed and limited in bytes and time while it is read.

    Where a limit is met, ``refusal`` says which, and the sender seems to be gone.
    """

    def __init__(self, receive: Receive, largest: int, until: float) -> None:
        self.refusal: Refusal | None = None
        self._receive, self._largest, self._until = receive, largest, until
        self._read, self._ended = 0, False
        self._digest = hashlib.sha256()

    @property
    def hash(self) -> str:
        """The first letters of the SHA-256 of what was read, - of nothing."""
        return self._digest.hexdigest()[:16] if self._read else "-"

    async def receive(self) -> Message:
        """Return the next part of the body, or that nothing more comes."""
        if self._ended:
            return await self._receive()  # waits for the sender to go, as frameworks do
        if self.refusal is None:
            try:
                message = await asyncio.wait_for(
                    self._receive(), max(self._until - time.monotonic(), 0.0)
                )
            except TimeoutError:
                self.refusal = (
                    HTTPStatus.REQUEST_TIMEOUT,
                    "The request did not arrive in time; send it again.",
                )
            else:
                self._note(message)
        return {"type": "http.disconnect"} if self.refusal else message

    def _note(self, message: Message) -> None:
        part = message.get("body", b"")
        self._read += len(part)
        self._digest.update(part)
        self._ended = not message.get("more_body", False)
        if self._read > self._largest:
            self.refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_long(self._largest)


def _too_long(largest: int) -> str:
    return (
        f"A request states its length and has at most {largest:,} bytes here; send fewer or "
        "smaller images."
    )


async def refuse(send: Send, status: HTTPStatus, sentence: str) -> None:
    """Send one sentence as JSON, and end the connection: its body may not have been read."""
    content = json.dumps({"error": sentence}).encode("ascii")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode("ascii")),
        (b"connection", b"close"),
    ]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": content})
