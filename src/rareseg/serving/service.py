"""The HTTP service: routes around one detector."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import torch
from fastapi import FastAPI, File, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

import rareseg
from rareseg.errors import RaresegError
from rareseg.prediction.detector import Detector, load
from rareseg.serving.model_reply import model_reply
from rareseg.serving.replies import MaskForm, found_reply
from rareseg.serving.request_limits import RequestLimits
from rareseg.serving.service_metrics import CONTENT_TYPE, Metrics
from rareseg.serving.service_options import ServiceOptions
from rareseg.serving.uploads import Upload, read_uploads
from rareseg.serving.watch_metrics import require_watch
from rareseg_runner.memory_limit import limited_to

OPTIONS = "RARESEG_SERVICE"
"""The variable by which worker processes are told the options, as JSON."""

MOST_FILES = 64
"""Of one request."""

_HOW = "Send the image as the form field `file` (multipart/form-data), and masks=png, rle or none."

T = TypeVar("T")


class _LateError(Exception):
    """An answer that takes longer than is allowed."""


class Service:
    """Answers requests with one detector, one image at a time."""

    def __init__(self, detector: Detector, options: ServiceOptions) -> None:
        self.detector, self.options = detector, options
        self.metrics = Metrics(options.watch)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rareseg-predict")
        self._given_up: set[Future[Any]] = set()

    @property
    def given_up(self) -> int:
        """How many requests are still computed, or wait for it, that nobody waits for."""
        return len(self._given_up)

    def app(self) -> RequestLimits:
        """Return the ASGI application."""
        app = FastAPI(
            title="rareseg", version=rareseg.__version__, docs_url=None, redoc_url=None,
            lifespan=self._lifespan,
        )  # fmt: skip
        for path, answer, methods in (
            ("/health", self.health, ["GET"]),
            ("/ready", self.ready, ["GET"]),
            ("/model", self.model, ["GET"]),
            ("/metrics", self.count, ["GET"]),
            ("/predict", self.predict, ["POST"]),
            ("/batch", self.batch, ["POST"]),
        ):
            app.add_api_route(path, answer, methods=methods, response_model=None)
        app.add_exception_handler(RaresegError, _bad_image)
        app.add_exception_handler(RequestValidationError, _bad_form)
        app.add_exception_handler(HTTPException, _other_error)
        app.add_exception_handler(_LateError, self._late)
        return RequestLimits(app, self.options, self.metrics, lambda: self.given_up)

    async def health(self) -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok"}

    async def ready(self) -> dict[str, str]:
        """Say that images are taken: nothing is answered before the model is loaded."""
        return {"status": "ready"}

    async def model(self) -> dict[str, Any]:
        """Describe the model: classes, points, certificates."""
        return model_reply(self.detector)

    async def count(self) -> Response:
        """Return the metrics, for Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def predict(
        self, file: Annotated[list[UploadFile], File()], masks: MaskForm = "png"
    ) -> dict[str, Any]:
        """Return what is found in one image; several files are its channels, in order."""
        uploads = await _read(file)
        return await self._computed(lambda: self._found(uploads, masks))

    async def batch(
        self, file: Annotated[list[UploadFile], File()], masks: MaskForm = "png"
    ) -> dict[str, Any]:
        """Return what is found in each of several images, or why one cannot be read."""
        uploads = await _read(file)

        def each(upload: Upload) -> dict[str, Any]:
            try:
                return self._found([upload], masks)
            except RaresegError as error:
                return {"error": str(error)}

        return {"images": [await self._computed(partial(each, one)) for one in uploads]}

    def _found(self, uploads: Sequence[Upload], masks: MaskForm) -> dict[str, Any]:
        with limited_to(self.options.memory):
            image = read_uploads(uploads, largest_pixels=self.options.largest_pixels)
        found = self.detector(image)
        self.metrics.found(found)
        return found_reply(found, masks)

    async def _computed(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, in the one thread that computes; _LateError after a time.

        What nobody waits for any more is not begun; what has begun is finished.
        """
        future = self._worker.submit(work)
        try:
            return await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(future)), self.options.seconds
            )
        except (TimeoutError, asyncio.CancelledError) as error:
            if not future.cancel():
                self._given_up.add(future)
                future.add_done_callback(self._given_up.discard)
            if isinstance(error, TimeoutError):
                raise _LateError from None
            raise

    async def _late(self, _request: Request, _error: Exception) -> Response:
        return _sentence(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"No answer within {self.options.seconds:g} s; send a smaller image, or later.",
        )

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        yield
        self._worker.shutdown(wait=True, cancel_futures=True)


def make_service(options: ServiceOptions) -> Service:
    """Load the model of a service; raises :class:`BundleError` where it cannot be read.

    Raises :class:`UsageError` where the watch is none, or that of another model.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    detector = load(options.model, device=options.device)
    if options.watch is not None:
        require_watch(options.watch, detector.model.digest)
    return Service(detector, options)


def app_of_environment() -> RequestLimits:
    """Return the application of a worker process, whose options its environment holds."""
    return make_service(ServiceOptions.from_json(os.environ[OPTIONS])).app()


async def _read(files: Sequence[UploadFile]) -> list[Upload]:
    if len(files) > MOST_FILES:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{len(files)} files in one request, where {MOST_FILES} are taken; send several.",
        )
    return [Upload(file.filename or "", await file.read()) for file in files]


def _sentence(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _bad_image(_request: Request, error: Exception) -> Response:
    return _sentence(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


async def _bad_form(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"][1:])
    return _sentence(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{where}: {first['msg']}. {_HOW}",
    )


async def _other_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        told = "There is nothing here; POST /predict, POST /batch, GET /health, /ready, /model."
        return _sentence(HTTPStatus.NOT_FOUND, told)
    how = f" {_HOW}" if error.status_code == HTTPStatus.BAD_REQUEST else ""
    return _sentence(error.status_code, f"{error.detail}{how}")
